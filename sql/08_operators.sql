-- Under row-level security an index is read for a comparison only if that is leakproof: if it tells nothing
-- about the rows of others but its result, which the policy then drops.  PostgreSQL marks few functions so,
-- none of those for text search and arrays.  These two send no message and have no error that depends on a
-- value, but at the very edge of the stack (doc/security.md, "What is not promised"), so what is theirs is
-- declared once more, leakproof, with classes that let indexes serve it.


CREATE FUNCTION hypercube._matches(words tsvector, query tsquery)
    RETURNS boolean
    LANGUAGE internal
    IMMUTABLE
    STRICT
    PARALLEL SAFE
    LEAKPROOF
AS 'ts_match_vq';

CREATE OPERATOR hypercube.@@ (
    LEFTARG = tsvector, RIGHTARG = tsquery, FUNCTION = hypercube._matches,
    RESTRICT = tsmatchsel, JOIN = tsmatchjoinsel
);

-- Serves the operator of PostgreSQL as well, for those who are held to no policy.
CREATE OPERATOR CLASS hypercube.words_ops FOR TYPE tsvector USING gin AS
    OPERATOR 1 pg_catalog.@@ (tsvector, tsquery),
    OPERATOR 2 hypercube.@@ (tsvector, tsquery),
    FUNCTION 1 gin_cmp_tslexeme (text, text),
    FUNCTION 2 gin_extract_tsvector (tsvector, internal, internal),
    FUNCTION 3 gin_extract_tsquery (tsvector, internal, smallint, internal, internal, internal, internal),
    FUNCTION 4 gin_tsquery_consistent (internal, smallint, tsvector, integer, internal, internal, internal, internal),
    FUNCTION 5 gin_cmp_prefix (text, text, smallint, internal),
    FUNCTION 6 gin_tsquery_triconsistent (internal, smallint, tsvector, integer, internal, internal, internal),
    STORAGE text;


CREATE FUNCTION hypercube._holds(ids bytea[], wanted bytea[])
    RETURNS boolean
    LANGUAGE internal
    IMMUTABLE
    STRICT
    PARALLEL SAFE
    LEAKPROOF
AS 'arraycontains';

CREATE OPERATOR hypercube.@> (
    LEFTARG = bytea[], RIGHTARG = bytea[], FUNCTION = hypercube._holds,
    RESTRICT = contsel, JOIN = contjoinsel
);

CREATE OPERATOR CLASS hypercube.ids_ops FOR TYPE bytea[] USING gin AS
    OPERATOR 2 hypercube.@> (bytea[], bytea[]),
    FUNCTION 1 byteacmp (bytea, bytea),
    FUNCTION 2 ginarrayextract (anyarray, internal, internal),
    FUNCTION 3 ginqueryarrayextract (anyarray, internal, smallint, internal, internal, internal, internal),
    FUNCTION 4 ginarrayconsistent (internal, smallint, anyarray, integer, internal, internal, internal, internal),
    FUNCTION 6 ginarraytriconsistent (internal, smallint, anyarray, integer, internal, internal, internal),
    STORAGE bytea;
