-- Arithmetic on vectors, without Python and without a model.  Sums are taken in
-- double precision and rounded once.


CREATE FUNCTION hypercube._check_vector(vector real[])
    RETURNS void
    LANGUAGE plpgsql
    IMMUTABLE
    PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF vector IS NOT NULL AND coalesce(array_ndims(vector), 0) <> 1 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('the vector has %s dimensions of an array, not 1', coalesce(array_ndims(vector), 0)),
            HINT = 'Give a list of numbers, for example ARRAY[1, 2, 3].';
    END IF;
    IF vector IS NULL OR array_position(vector, NULL) IS NOT NULL THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'the vector must not be null, nor hold a null',
            HINT = 'Give numbers, for example hypercube.embedding(''whale'').';
    END IF;
    IF 'NaN' = ANY (vector) OR 'Infinity' = ANY (vector) OR '-Infinity' = ANY (vector) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'the vector holds NaN or infinity',
            HINT = 'Give finite numbers.';
    END IF;
END
$$;


CREATE FUNCTION hypercube._check_vectors(a real[], b real[])
    RETURNS void
    LANGUAGE plpgsql
    IMMUTABLE
    PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM hypercube._check_vector(a);
    PERFORM hypercube._check_vector(b);
    IF cardinality(a) <> cardinality(b) THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('the vectors have %s and %s numbers', cardinality(a), cardinality(b)),
            HINT = 'Only vectors of one length can be combined.';
    END IF;
END
$$;


CREATE FUNCTION hypercube._check_factor(factor double precision)
    RETURNS void
    LANGUAGE plpgsql
    IMMUTABLE
    PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF factor IS NULL OR factor IN ('NaN', 'Infinity', '-Infinity') THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('the factor is no finite number: %s', coalesce(factor::text, 'null')),
            HINT = 'Give a number, for example 0.5.';
    END IF;
END
$$;


-- Numbers that are too small for a real become 0; a cast would be an error.
CREATE FUNCTION hypercube._as_real(value double precision)
    RETURNS real
    LANGUAGE sql
    IMMUTABLE
    PARALLEL SAFE
RETURN CASE WHEN abs(_as_real.value) < 1e-44 THEN 0 ELSE _as_real.value END::real;


CREATE FUNCTION hypercube.add(a real[], b real[])
    RETURNS real[]
    LANGUAGE plpgsql
    IMMUTABLE
    PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM hypercube._check_vectors(a, b);
    RETURN (
        SELECT array_agg(hypercube._as_real(pair.x::double precision + pair.y) ORDER BY pair.place)
        FROM unnest(a, b) WITH ORDINALITY AS pair (x, y, place)
    );
END
$$;

COMMENT ON FUNCTION hypercube.add(real[], real[])
    IS 'the sum of two vectors';


CREATE FUNCTION hypercube.subtract(a real[], b real[])
    RETURNS real[]
    LANGUAGE plpgsql
    IMMUTABLE
    PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM hypercube._check_vectors(a, b);
    RETURN (
        SELECT array_agg(hypercube._as_real(pair.x::double precision - pair.y) ORDER BY pair.place)
        FROM unnest(a, b) WITH ORDINALITY AS pair (x, y, place)
    );
END
$$;

COMMENT ON FUNCTION hypercube.subtract(real[], real[])
    IS 'the difference of two vectors';


CREATE FUNCTION hypercube.scale(vector real[], factor double precision)
    RETURNS real[]
    LANGUAGE plpgsql
    IMMUTABLE
    PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM hypercube._check_vector(vector);
    PERFORM hypercube._check_factor(factor);
    RETURN (
        SELECT array_agg(hypercube._as_real(one.x * factor) ORDER BY one.place)
        FROM unnest(vector) WITH ORDINALITY AS one (x, place)
    );
END
$$;

COMMENT ON FUNCTION hypercube.scale(real[], double precision)
    IS 'a vector times a number';


CREATE FUNCTION hypercube.normalise(vector real[])
    RETURNS real[]
    LANGUAGE plpgsql
    IMMUTABLE
    PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    length double precision;
BEGIN
    PERFORM hypercube._check_vector(vector);
    length := (SELECT sqrt(sum(one.x::double precision * one.x)) FROM unnest(vector) AS one (x));
    IF length = 0 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'the vector is zero and has no direction',
            HINT = 'A direction needs a number that is not 0.';
    END IF;
    RETURN (
        SELECT array_agg(hypercube._as_real(one.x / length) ORDER BY one.place)
        FROM unnest(vector) WITH ORDINALITY AS one (x, place)
    );
END
$$;

COMMENT ON FUNCTION hypercube.normalise(real[])
    IS 'a vector divided by its length';


CREATE FUNCTION hypercube.similarity(a real[], b real[])
    RETURNS real
    LANGUAGE plpgsql
    IMMUTABLE
    PARALLEL SAFE
    SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    product double precision;
    lengths double precision;
BEGIN
    PERFORM hypercube._check_vectors(a, b);
    SELECT
        sum(pair.x::double precision * pair.y),
        sqrt(sum(pair.x::double precision * pair.x)) * sqrt(sum(pair.y::double precision * pair.y))
    INTO product, lengths
    FROM unnest(a, b) AS pair (x, y);
    IF lengths = 0 THEN
        RAISE EXCEPTION USING
            ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'a vector is zero and has no direction',
            HINT = 'A direction needs a number that is not 0.';
    END IF;
    RETURN hypercube._as_real(greatest(-1, least(1, product / lengths)));
END
$$;

COMMENT ON FUNCTION hypercube.similarity(real[], real[])
    IS 'cosine of two vectors';
