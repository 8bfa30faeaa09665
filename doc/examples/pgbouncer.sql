-- Run once by a superuser in each database behind pgbouncer: how it learns the SCRAM verifier of who connects.
-- Then, in psql: \password pgbouncer
CREATE ROLE pgbouncer LOGIN;
CREATE SCHEMA pooling;
REVOKE ALL ON SCHEMA pooling FROM PUBLIC;
GRANT USAGE ON SCHEMA pooling TO pgbouncer;

CREATE FUNCTION pooling.verifier_of(who text)
    RETURNS TABLE (name name, verifier text)
    LANGUAGE sql
    STABLE
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END
    FROM pg_authid
    -- Superusers come by the socket, not through a pooler.
    WHERE rolname = who AND rolcanlogin AND NOT rolsuper;
END;

COMMENT ON FUNCTION pooling.verifier_of(text)
    IS 'how a role proves itself, for pgbouncer alone';

REVOKE ALL ON FUNCTION pooling.verifier_of FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pooling.verifier_of TO pgbouncer;
