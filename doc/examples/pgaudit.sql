-- Once in each database with the extension, as a superuser, after a restart with pgaudit.conf; the GRANT again
-- after an update of hypercube.  The role is a list of tables: it has no members, and nobody logs in as it.
CREATE EXTENSION pgaudit;
CREATE ROLE hypercube_watched NOLOGIN;
GRANT SELECT ON ALL TABLES IN SCHEMA hypercube TO hypercube_watched;
