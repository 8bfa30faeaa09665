-- Backups by pg_cron, as a superuser in the database of cron.database_name. The program runs as the server's
-- user; what it says on failure is in the server's log, and the run in cron.job_run_details. Its transaction
-- is open as long as the backup takes, and while the server is down nothing is run: cron or a timer of the
-- operating system sees that, this does not. Replace /opt/hypercube by the folder of hypercube.
SELECT cron.schedule('full backup', '0 1 * * 0',
    $$COPY (SELECT 1 LIMIT 0) TO PROGRAM '/opt/hypercube/scripts/backup full --record mydatabase > /dev/null'$$);
SELECT cron.schedule('differential backup', '0 1 * * 1-6',
    $$COPY (SELECT 1 LIMIT 0) TO PROGRAM '/opt/hypercube/scripts/backup diff --record mydatabase > /dev/null'$$);
