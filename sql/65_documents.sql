CREATE TYPE hypercube.text_report AS (
    document text,
    bytes bigint,
    characters integer,
    sentences integer,
    new_sentences integer,
    pieces integer,
    tokens bigint,
    shared double precision,
    seconds double precision
);

COMMENT ON TYPE hypercube.text_report
    IS 'what the ingest of a text counted: pieces are words, spaces and marks, shared is the part of its characters in sentences that were stored already, seconds are those of the whole call';


CREATE FUNCTION hypercube.ingest_text(
        name text, content text, model text DEFAULT NULL, metadata jsonb DEFAULT NULL,
        language text DEFAULT NULL, replace boolean DEFAULT false, vectors boolean DEFAULT true)
    RETURNS SETOF hypercube.text_report
    ROWS 1
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.ingest_text(name, content, metadata, model, language, replace, vectors)
$python$;

COMMENT ON FUNCTION hypercube.ingest_text(text, text, text, jsonb, text, boolean, boolean)
    IS 'stores a text under a name as a composition of sentences and words, read by a model; what is stored already is shared';


CREATE FUNCTION hypercube.ingest_text(
        name text, content bytea, model text DEFAULT NULL, metadata jsonb DEFAULT NULL,
        language text DEFAULT NULL, replace boolean DEFAULT false, vectors boolean DEFAULT true)
    RETURNS SETOF hypercube.text_report
    ROWS 1
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.ingest_text(name, content, metadata, model, language, replace, vectors)
$python$;

COMMENT ON FUNCTION hypercube.ingest_text(text, bytea, text, jsonb, text, boolean, boolean)
    IS 'the same from UTF-8, which may hold the null character';


CREATE FUNCTION hypercube.ingest_texts(
        names text[], contents text[], model text DEFAULT NULL, metadata jsonb[] DEFAULT NULL,
        language text DEFAULT NULL, replace boolean DEFAULT false, vectors boolean DEFAULT true)
    RETURNS SETOF hypercube.text_report
    ROWS 100
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.ingest_texts(names, contents, metadata, model, language, replace, vectors)
$python$;

COMMENT ON FUNCTION hypercube.ingest_texts(text[], text[], text, jsonb[], text, boolean, boolean)
    IS 'stores many texts at once, all or none of them';


CREATE FUNCTION hypercube.ingest_texts_from(
        source refcursor, model text DEFAULT NULL,
        language text DEFAULT NULL, replace boolean DEFAULT false, vectors boolean DEFAULT true)
    RETURNS SETOF hypercube.text_report
    ROWS 100
    LANGUAGE plpgsql
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    names text[] := '{}';
    contents text[] := '{}';
    metadata jsonb[] := '{}';
    name text;
    content text;
    told jsonb;
    pending bigint := 0;
    more boolean := true;
BEGIN
    PERFORM hypercube._require_writable();
    WHILE more LOOP
        FETCH source INTO name, content, told;
        more := FOUND;
        IF more THEN
            names := array_append(names, name);
            contents := array_append(contents, content);
            metadata := array_append(metadata, told);
            pending := pending + octet_length(content);
        END IF;
        -- In parts of a few megabytes, so that the memory does not grow with the query.
        IF cardinality(names) > 0 AND (NOT more OR cardinality(names) = 1000 OR pending > 4000000) THEN
            RETURN QUERY
            SELECT r.* FROM hypercube.ingest_texts(names, contents, model, metadata, language, replace, vectors) AS r;
            names := '{}';
            contents := '{}';
            metadata := '{}';
            pending := 0;
        END IF;
    END LOOP;
END
$$;

COMMENT ON FUNCTION hypercube.ingest_texts_from(refcursor, text, text, boolean, boolean)
    IS 'stores texts from an open cursor over name, content and metadata: from any query or table, whose rows are read in parts';


CREATE TYPE hypercube.text_drop_report AS (
    document text,
    sentences integer,
    compositions integer,
    vectors integer
);

COMMENT ON TYPE hypercube.text_drop_report
    IS 'what the drop of a document removed: compositions and vectors are those that nothing else holds';


CREATE FUNCTION hypercube.drop_document(name text)
    RETURNS SETOF hypercube.text_drop_report
    ROWS 1
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.drop_document(name)
$python$;

COMMENT ON FUNCTION hypercube.drop_document(text)
    IS 'removes a document and everything that only it holds, and takes its counts back; for its owner and superusers';


CREATE FUNCTION hypercube.read_documents(
        model text DEFAULT NULL, documents text[] DEFAULT NULL, vectors boolean DEFAULT true)
    RETURNS integer
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.read_documents(model, documents, vectors)
$python$;

COMMENT ON FUNCTION hypercube.read_documents(text, text[], boolean)
    IS 'lets a model read documents of the caller that were stored without one, or those named, which leave the model that read them; returns how many';


CREATE FUNCTION hypercube.document_text(name text)
    RETURNS text
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.document_text(name)
$python$;

COMMENT ON FUNCTION hypercube.document_text(text)
    IS 'a document as it was stored';


CREATE FUNCTION hypercube.document_bytes(name text)
    RETURNS bytea
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.document_bytes(name)
$python$;

COMMENT ON FUNCTION hypercube.document_bytes(text)
    IS 'the same as UTF-8, also where it holds the null character';


CREATE FUNCTION hypercube._document_is_whole(name text)
    RETURNS boolean
    LANGUAGE plpython3u
    STABLE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.document_is_whole(name)
$python$;


CREATE FUNCTION hypercube.verify_document(name text)
    RETURNS boolean
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET jit = off
    SET quote_all_identifiers = off
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import text_api
return text_api.verify_document(name)
$python$;

COMMENT ON FUNCTION hypercube.verify_document(text)
    IS 'rebuilds a document from its atoms and computes every id and the digest again; true, or an error that names what is damaged';


CREATE VIEW hypercube.document_overview
    WITH (security_invoker = true)
AS
SELECT
    d.name AS document,
    d.bytes,
    d.characters,
    d.sentences,
    m.name AS model,
    d.language,
    d.metadata,
    d.owner,
    d.created_at,
    encode(d.digest, 'hex') AS digest,
    d.composition_id
FROM hypercube.document AS d
LEFT JOIN hypercube.model AS m ON m.id = d.model_id;

COMMENT ON VIEW hypercube.document_overview
    IS 'one row a document';
COMMENT ON COLUMN hypercube.document_overview.document
    IS 'name of the document';
COMMENT ON COLUMN hypercube.document_overview.bytes
    IS 'of the text in UTF-8';
COMMENT ON COLUMN hypercube.document_overview.characters
    IS 'of the text';
COMMENT ON COLUMN hypercube.document_overview.sentences
    IS 'how many it has, with those that repeat';
COMMENT ON COLUMN hypercube.document_overview.model
    IS 'the model that reads it';
COMMENT ON COLUMN hypercube.document_overview.language
    IS 'text search configuration that its words are reduced with';
COMMENT ON COLUMN hypercube.document_overview.metadata
    IS 'what was given with it';
COMMENT ON COLUMN hypercube.document_overview.owner
    IS 'role that stored it';
COMMENT ON COLUMN hypercube.document_overview.created_at
    IS 'when it was stored';
COMMENT ON COLUMN hypercube.document_overview.digest
    IS 'BLAKE3 of the text in UTF-8, in hexadecimal';
COMMENT ON COLUMN hypercube.document_overview.composition_id
    IS 'what it is made of';


CREATE VIEW hypercube.sentence_overview
    WITH (security_invoker = true)
AS
SELECT
    d.name AS document,
    s.ordinal,
    s.start,
    c.label AS text,
    s.composition_id
FROM hypercube.sentence AS s
JOIN hypercube.document AS d ON d.id = s.document_id
JOIN hypercube.composition AS c ON c.id = s.composition_id;

COMMENT ON VIEW hypercube.sentence_overview
    IS 'the sentences of the documents';
COMMENT ON COLUMN hypercube.sentence_overview.document
    IS 'name of the document';
COMMENT ON COLUMN hypercube.sentence_overview.ordinal
    IS 'place of the sentence in it, from 1';
COMMENT ON COLUMN hypercube.sentence_overview.start
    IS 'characters of the document before it';
COMMENT ON COLUMN hypercube.sentence_overview.text
    IS 'the sentence with the white space behind it';
COMMENT ON COLUMN hypercube.sentence_overview.composition_id
    IS 'what it is made of';
