-- Makes a role that asks: psql -v role=ann -f reader.sql, then \password ann.
-- Without a password nobody gets in.  Settings belong to the role that logs in: members of hypercube_reader
-- inherit its rights, not its settings.  They bound mistakes; who asks can SET them for a session.
CREATE ROLE :"role" LOGIN CONNECTION LIMIT 5 IN ROLE hypercube_reader;
ALTER ROLE :"role" SET statement_timeout = '30s';
ALTER ROLE :"role" SET lock_timeout = '5s';
ALTER ROLE :"role" SET idle_in_transaction_session_timeout = '1min';
ALTER ROLE :"role" SET idle_session_timeout = '15min';
ALTER ROLE :"role" SET default_transaction_read_only = on;
