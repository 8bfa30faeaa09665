-- Makes a role that may restore a dump into this database, and takes its rights back.  Run by a superuser:
--   psql -d restored -v role=restorer -v member=ann -f restorer.sql             before the restore
--   psql -d restored -v role=restorer -v member=ann -v done= -f restorer.sql    after it
-- While it has them it may write any row, and so read and write what the server's user may: give them for
-- the time of a restore, to whom you would trust with that.
\set ON_ERROR_STOP on
BEGIN;
-- The owner of the database may have set another, with functions of his own in it.
SET LOCAL search_path = pg_catalog, pg_temp;
\if :{?done}
REVOKE :"role" FROM :"member";
REVOKE ALL ON ALL TABLES IN SCHEMA hypercube FROM :"role";
REVOKE ALL ON ALL SEQUENCES IN SCHEMA hypercube FROM :"role";
REVOKE hypercube_reader FROM :"role";
ALTER ROLE :"role" NOBYPASSRLS;
\else
SELECT count(*) = 0 AS missing FROM pg_catalog.pg_roles WHERE rolname = :'role' \gset
\if :missing
CREATE ROLE :"role" NOLOGIN;
\endif
-- Rows come in by COPY, which row-level security forbids; triggers of the audit run with the rights of a reader.
ALTER ROLE :"role" BYPASSRLS;
GRANT hypercube_reader TO :"role";
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA hypercube TO :"role";
GRANT UPDATE ON ALL SEQUENCES IN SCHEMA hypercube TO :"role";
GRANT :"role" TO :"member";
\endif
COMMIT;
