-- Who sees what, beside owners.  Names of roles: a grant to a role that is gone is a grant to nobody, until
-- there is a role of that name again.


CREATE FUNCTION hypercube.grant_model(model text, role text)
    RETURNS boolean
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import guard_api
return guard_api.grant_model(model, role)
$python$;

COMMENT ON FUNCTION hypercube.grant_model(text, text)
    IS 'lets the members of a role see a model, or everybody with ''public''; returns whether that is new; for its owner';


CREATE FUNCTION hypercube.revoke_model(model text, role text)
    RETURNS boolean
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import guard_api
return guard_api.revoke_model(model, role)
$python$;

COMMENT ON FUNCTION hypercube.revoke_model(text, text)
    IS 'takes back grant_model, returns whether there was such a grant; for its owner';


CREATE FUNCTION hypercube.grant_document(document text, role text)
    RETURNS boolean
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import guard_api
return guard_api.grant_document(document, role)
$python$;

COMMENT ON FUNCTION hypercube.grant_document(text, text)
    IS 'lets the members of a role see a document, or everybody with ''public''; returns whether that is new; for its owner';


CREATE FUNCTION hypercube.revoke_document(document text, role text)
    RETURNS boolean
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import guard_api
return guard_api.revoke_document(document, role)
$python$;

COMMENT ON FUNCTION hypercube.revoke_document(text, text)
    IS 'takes back grant_document, returns whether there was such a grant; for its owner';


CREATE FUNCTION hypercube.give_model(model text, role text)
    RETURNS void
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import guard_api
return guard_api.give_model(model, role)
$python$;

COMMENT ON FUNCTION hypercube.give_model(text, text)
    IS 'makes a role the owner of a model; for its owner, who has to be a member of that role';


CREATE FUNCTION hypercube.give_document(document text, role text)
    RETURNS void
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import guard_api
return guard_api.give_document(document, role)
$python$;

COMMENT ON FUNCTION hypercube.give_document(text, text)
    IS 'makes a role the owner of a document; for its owner, who has to be a member of that role';


CREATE VIEW hypercube.grant_overview
    WITH (security_invoker = true)
AS
SELECT 'model' AS kind, m.name, m.owner, g.grantee
FROM hypercube.model AS m
CROSS JOIN LATERAL unnest(m.readers) AS g (grantee)
UNION ALL
SELECT 'document', d.name, d.owner, g.grantee
FROM hypercube.document AS d
CROSS JOIN LATERAL unnest(d.readers) AS g (grantee);

COMMENT ON VIEW hypercube.grant_overview
    IS 'who sees which model or document beside its owner, of those that the caller sees';
COMMENT ON COLUMN hypercube.grant_overview.kind
    IS 'model or document';
COMMENT ON COLUMN hypercube.grant_overview.name
    IS 'of the model or document';
COMMENT ON COLUMN hypercube.grant_overview.owner
    IS 'the role that it belongs to';
COMMENT ON COLUMN hypercube.grant_overview.grantee
    IS 'the role whose members see it, or public';
