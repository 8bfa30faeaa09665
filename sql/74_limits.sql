-- What a role may use.  Stored neighbours look for these rows at every call, so what they look for is a
-- plain column; where no row is visible, no Python is started and nothing is written.


CREATE TABLE hypercube.role_limit (
    role name NOT NULL,
    what text NOT NULL,
    value bigint NOT NULL,
    set_by name NOT NULL,
    set_at timestamptz NOT NULL DEFAULT now(),
    on_questions boolean NOT NULL GENERATED ALWAYS AS (what IN ('k', 'questions')) STORED,
    CONSTRAINT role_limit_pkey PRIMARY KEY (role, what),
    CONSTRAINT role_limit_what
        CHECK (what IN ('models', 'stored_bytes', 'documents', 'ingests', 'questions', 'k', 'batch')),
    CONSTRAINT role_limit_value CHECK (value >= 0)
);

COMMENT ON TABLE hypercube.role_limit
    IS 'what a role may use at most; set_limit and unset_limit write it';
COMMENT ON COLUMN hypercube.role_limit.role
    IS 'a role and its members, or public: all that no other row is for';
COMMENT ON COLUMN hypercube.role_limit.what
    IS 'models, stored_bytes, documents, ingests (at a time), questions (a minute), k or batch';
COMMENT ON COLUMN hypercube.role_limit.value
    IS 'how much at most; 0 is nothing';
COMMENT ON COLUMN hypercube.role_limit.on_questions
    IS 'whether it keeps stored neighbours from being answered without a look at limits';


-- Two sessions that both store something for a role would not see what the other has not committed yet.  A row
-- lock, as nobody else can take one here: an advisory lock could be held by anybody, for ever.
CREATE TABLE hypercube.limit_turn (
    role name NOT NULL,
    CONSTRAINT limit_turn_pkey PRIMARY KEY (role)
);

COMMENT ON TABLE hypercube.limit_turn
    IS 'roles with a limit of what they own: who stores something for one waits for others at its row of this';


SELECT pg_catalog.pg_extension_config_dump('hypercube.role_limit', '');
SELECT pg_catalog.pg_extension_config_dump('hypercube.limit_turn', '');


-- One call in a policy is half as dear to prepare as its expression would be; the planner need not avoid it.
CREATE FUNCTION hypercube._concerns_caller(role name)
    RETURNS boolean
    LANGUAGE plpgsql
    STABLE
    PARALLEL SAFE
    COST 1
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN role = 'public'
        OR coalesce(pg_has_role(to_regrole(quote_ident(role)), 'MEMBER'), false)
        OR coalesce(pg_has_role(to_regrole('hypercube_admin'), 'MEMBER'), false);
END
$$;

ALTER TABLE hypercube.role_limit ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.role_limit FORCE ROW LEVEL SECURITY;
ALTER TABLE hypercube.limit_turn ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.limit_turn FORCE ROW LEVEL SECURITY;
CREATE POLICY role_limit_concerning ON hypercube.role_limit FOR SELECT USING (hypercube._concerns_caller(role));


-- A row of the role itself, else the least of those of its groups, else that of public.  Who administers is
-- held to nothing but a row of his own.
CREATE FUNCTION hypercube._find_limit(asking oid, what text)
    RETURNS TABLE (value bigint, role name)
    ROWS 1
    LANGUAGE plpgsql
    STABLE
    PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    exempt boolean := coalesce(
        pg_has_role(asking, to_regrole('hypercube_admin'), 'MEMBER'),
        (SELECT r.rolsuper FROM pg_roles AS r WHERE r.oid = asking));
BEGIN
    RETURN QUERY
    SELECT l.value, l.role
    FROM hypercube.role_limit AS l
    CROSS JOIN LATERAL (SELECT to_regrole(quote_ident(l.role))::oid AS number) AS named
    WHERE l.what = _find_limit.what
      AND (named.number = asking
           OR NOT exempt AND (l.role = 'public' OR pg_has_role(asking, named.number, 'MEMBER')))
    ORDER BY named.number = asking DESC NULLS LAST, l.role = 'public', l.value, l.role
    LIMIT 1;
END
$$;


CREATE FUNCTION hypercube._limit_of_caller(what text)
    RETURNS bigint
    LANGUAGE plpgsql
    STABLE
    PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT f.value FROM hypercube._find_limit(to_regrole(quote_ident(current_user))::oid, what) AS f);
END
$$;


CREATE FUNCTION hypercube._check_limit_of_k(k integer)
    RETURNS void
    LANGUAGE plpgsql
    STABLE
    PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    most bigint;
BEGIN
    IF EXISTS (SELECT FROM hypercube.role_limit AS l WHERE l.what = 'k') THEN
        most := hypercube._limit_of_caller('k');
        IF k > most THEN
            RAISE EXCEPTION USING
                ERRCODE = 'program_limit_exceeded',
                MESSAGE = format('%s rows were asked for, at most %s are allowed to role "%s"', k, most, current_user),
                HINT = format(
                    'A member of hypercube_admin can raise it: SELECT hypercube.set_limit(%L, ''k'', ...).', current_user);
        END IF;
    END IF;
END
$$;


CREATE FUNCTION hypercube._charge_caller()
    RETURNS void
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import limit_api
return limit_api.charge_caller()
$python$;


-- Counts one question that SQL answers; those that Python answers count themselves.
CREATE FUNCTION hypercube._charge()
    RETURNS void
    LANGUAGE plpgsql
    VOLATILE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM hypercube.role_limit AS l WHERE l.what = 'questions') THEN
        IF hypercube._limit_of_caller('questions') IS NOT NULL THEN
            PERFORM hypercube._charge_caller();
        END IF;
    END IF;
END
$$;


CREATE FUNCTION hypercube.set_limit(role name, what text, value bigint)
    RETURNS void
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import limit_api
return limit_api.set_limit(role, what, value)
$python$;

COMMENT ON FUNCTION hypercube.set_limit(name, text, bigint)
    IS 'limits what a role and its members may use, or public: all others; for members of hypercube_admin and superusers';


CREATE FUNCTION hypercube.unset_limit(role name, what text)
    RETURNS boolean
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import limit_api
return limit_api.unset_limit(role, what)
$python$;

COMMENT ON FUNCTION hypercube.unset_limit(name, text)
    IS 'takes back set_limit, returns whether there was a limit; for members of hypercube_admin and superusers';


CREATE FUNCTION hypercube._limit_used(what text)
    RETURNS bigint
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import limit_api
return limit_api.limit_used(what)
$python$;


CREATE VIEW hypercube.limit_overview
    WITH (security_invoker = true)
AS
SELECT
    limited.what,
    f.value,
    f.role,
    hypercube._limit_used(limited.what) AS used
FROM (SELECT DISTINCT l.what FROM hypercube.role_limit AS l) AS limited
CROSS JOIN LATERAL hypercube._find_limit(to_regrole(quote_ident(current_user))::oid, limited.what) AS f;

COMMENT ON VIEW hypercube.limit_overview
    IS 'the limits that the caller is held to';
COMMENT ON COLUMN hypercube.limit_overview.what
    IS 'models, stored_bytes, documents, ingests (at a time), questions (a minute), k or batch';
COMMENT ON COLUMN hypercube.limit_overview.value
    IS 'how much at most';
COMMENT ON COLUMN hypercube.limit_overview.role
    IS 'the role that the limit was set for: the caller, one that it is a member of, or public';
COMMENT ON COLUMN hypercube.limit_overview.used
    IS 'how much of it the caller uses at the moment; null for k and batch';


GRANT SELECT ON hypercube.role_limit, hypercube.limit_overview TO hypercube_reader;
