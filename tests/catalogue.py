"""All that the catalogue says of the extension in a database, by names: for comparing two of them."""

# ruff: noqa: E501 - queries

# Each statement gives (name, what is said of it); names are unique within their kind.  Types and functions are
# shown with their schemas, whatever the search_path.
_STATEMENTS = {
    "object": """
        SELECT pg_describe_object(d.classid, d.objid, d.objsubid),
            coalesce(obj_description(d.objid, d.classid::regclass::name), 'no comment')
        FROM pg_depend AS d
        WHERE d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass
          AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'hypercube')
    """,
    "object of the schema outside the extension": """
        SELECT pg_describe_object(o.classid, o.oid, 0), ''
        FROM (
            SELECT 'pg_class'::regclass AS classid, oid FROM pg_class
            WHERE relnamespace = 'hypercube'::regnamespace AND relkind NOT IN ('i', 't', 'c')
            UNION ALL SELECT 'pg_proc'::regclass, oid FROM pg_proc WHERE pronamespace = 'hypercube'::regnamespace
            UNION ALL SELECT 'pg_operator'::regclass, oid FROM pg_operator
            WHERE oprnamespace = 'hypercube'::regnamespace
        ) AS o
        WHERE NOT EXISTS (
            SELECT FROM pg_depend AS d WHERE d.classid = o.classid AND d.objid = o.oid AND d.deptype = 'e'
        )
    """,
    "relation": """
        SELECT c.relname, format('kind %s, persistence %s, row security %s%s, options %s, replica identity %s, populated %s',
            c.relkind, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity, c.reloptions, c.relreplident, c.relispopulated)
        FROM pg_class AS c
        WHERE c.relnamespace = 'hypercube'::regnamespace AND c.relkind NOT IN ('i', 't')
    """,
    "column": """
        SELECT format('%s.%s', c.relname, a.attname),
            concat_ws(', ', 'place ' || rank() OVER (PARTITION BY c.oid ORDER BY a.attnum), format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'not null' END,
                'default ' || pg_get_expr(e.adbin, e.adrelid), nullif('identity ' || a.attidentity::text, 'identity '),
                nullif('generated ' || a.attgenerated::text, 'generated '), 'storage ' || a.attstorage::text,
                'statistics ' || coalesce(a.attstattarget, -1), 'compression ' || nullif(a.attcompression::text, ''),
                'collation ' || nullif(a.attcollation::regcollation::text, '"default"'),
                -- The version of the column that some minor releases of the server keep there is none of ours.
                'options ' || nullif(ARRAY(SELECT o FROM unnest(a.attoptions) AS o WHERE NOT starts_with(o, 'pg_attver=')), '{}')::text,
                'comment ' || col_description(c.oid, a.attnum))
        FROM pg_attribute AS a
        JOIN pg_class AS c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef AS e ON e.adrelid = a.attrelid AND e.adnum = a.attnum
        WHERE c.relnamespace = 'hypercube'::regnamespace AND c.relkind NOT IN ('i', 't') AND a.attnum > 0 AND NOT a.attisdropped
    """,
    "sequence": """
        SELECT c.relname, concat_ws(', ', format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax,
            s.seqcache, s.seqcycle)
        FROM pg_sequence AS s JOIN pg_class AS c ON c.oid = s.seqrelid
        WHERE c.relnamespace = 'hypercube'::regnamespace
    """,
    "view": """
        SELECT c.relname, pg_get_viewdef(c.oid) FROM pg_class AS c
        WHERE c.relnamespace = 'hypercube'::regnamespace AND c.relkind IN ('v', 'm')
    """,
    "constraint": """
        SELECT format('%s on %s', o.conname, coalesce(c.relname, o.contypid::regtype::text)),
            format('%s, deferrable %s%s, valid %s', pg_get_constraintdef(o.oid), o.condeferrable, o.condeferred, o.convalidated)
        FROM pg_constraint AS o LEFT JOIN pg_class AS c ON c.oid = o.conrelid
        WHERE o.connamespace = 'hypercube'::regnamespace
    """,
    "index": """
        SELECT c.relname, concat_ws(', ', pg_get_indexdef(c.oid), CASE WHEN i.indisclustered THEN 'clustered' END,
            obj_description(c.oid, 'pg_class'), (
                SELECT string_agg(format('statistics of %s: %s', a.attname, a.attstattarget), ', ' ORDER BY a.attnum)
                FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attstattarget >= 0))
        FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
        WHERE c.relnamespace = 'hypercube'::regnamespace
    """,
    "statistics": """
        SELECT x.stxname, concat_ws(', ', pg_get_statisticsobjdef(x.oid), x.stxstattarget)
        FROM pg_statistic_ext AS x WHERE x.stxnamespace = 'hypercube'::regnamespace
    """,
    "trigger": """
        SELECT format('%s on %s', t.tgname, c.relname), format('%s, enabled %s', pg_get_triggerdef(t.oid), t.tgenabled)
        FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
        WHERE c.relnamespace = 'hypercube'::regnamespace AND NOT t.tgisinternal
    """,
    "policy": """
        SELECT format('%s on %s', policyname, tablename), concat_ws(', ', permissive, cmd, roles::text, qual, with_check)
        FROM pg_policies WHERE schemaname = 'hypercube'
    """,
    "rule": """
        SELECT format('%s on %s', rulename, tablename), definition FROM pg_rules WHERE schemaname = 'hypercube'
    """,
    "function": """
        SELECT p.oid::regprocedure::text, CASE p.prokind WHEN 'a' THEN 'aggregate'
            ELSE format('%s, dependencies %s', pg_get_functiondef(p.oid), (
                SELECT array_agg(DISTINCT pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid)
                    ORDER BY pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid))
                FROM pg_depend AS d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid)) END
        FROM pg_proc AS p WHERE p.pronamespace = 'hypercube'::regnamespace
    """,
    "aggregate": """
        SELECT a.aggfnoid::regprocedure::text, a::text FROM pg_aggregate AS a
        JOIN pg_proc AS p ON p.oid = a.aggfnoid WHERE p.pronamespace = 'hypercube'::regnamespace
    """,
    "operator": """
        SELECT o.oid::regoperator::text, concat_ws(', ', o.oprresult::regtype, o.oprcode, nullif(o.oprcom, 0)::regoperator,
            nullif(o.oprnegate, 0)::regoperator, o.oprrest, o.oprjoin, o.oprcanmerge, o.oprcanhash, obj_description(o.oid, 'pg_operator'))
        FROM pg_operator AS o WHERE o.oprnamespace = 'hypercube'::regnamespace
    """,
    "cast": """
        SELECT format('%s to %s', c.castsource::regtype, c.casttarget::regtype),
            concat_ws(', ', c.castfunc::regproc, c.castcontext, c.castmethod)
        FROM pg_cast AS c JOIN pg_type AS t ON t.oid IN (c.castsource, c.casttarget)
        WHERE t.typnamespace = 'hypercube'::regnamespace
    """,
    "type": """
        SELECT t.typname, concat_ws(', ', t.typtype, t.typcategory, t.typstorage, t.typnotnull, t.typdefault,
            nullif(t.typbasetype, 0)::regtype, (SELECT array_agg(e.enumlabel ORDER BY e.enumsortorder)
            FROM pg_enum AS e WHERE e.enumtypid = t.oid))
        FROM pg_type AS t WHERE t.typnamespace = 'hypercube'::regnamespace
    """,
    "rights on relation": """
        SELECT c.relname, ARRAY(SELECT a::text FROM unnest(c.relacl) AS a ORDER BY a::text)::text
        FROM pg_class AS c WHERE c.relnamespace = 'hypercube'::regnamespace AND c.relkind NOT IN ('i', 't')
    """,
    "rights on column": """
        SELECT format('%s.%s', c.relname, a.attname), ARRAY(SELECT i::text FROM unnest(a.attacl) AS i ORDER BY i::text)::text
        FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
        WHERE c.relnamespace = 'hypercube'::regnamespace AND a.attacl IS NOT NULL
    """,
    "rights on function": """
        SELECT p.oid::regprocedure::text, ARRAY(SELECT a::text FROM unnest(p.proacl) AS a ORDER BY a::text)::text
        FROM pg_proc AS p WHERE p.pronamespace = 'hypercube'::regnamespace
    """,
    "rights on type": """
        SELECT t.typname, ARRAY(SELECT a::text FROM unnest(t.typacl) AS a ORDER BY a::text)::text
        FROM pg_type AS t WHERE t.typnamespace = 'hypercube'::regnamespace AND t.typacl IS NOT NULL
    """,
    "rights on schema": """
        SELECT n.nspname, ARRAY(SELECT a::text FROM unnest(n.nspacl) AS a ORDER BY a::text)::text
        FROM pg_namespace AS n WHERE n.nspname = 'hypercube'
    """,
    # What pg_dump takes for what the script gave, and so leaves out.
    "rights that come with the extension": """
        SELECT pg_describe_object(i.classoid, i.objoid, i.objsubid), ARRAY(SELECT a::text FROM unnest(i.initprivs) AS a ORDER BY a::text)::text
        FROM pg_init_privs AS i
        JOIN pg_depend AS d ON d.classid = i.classoid AND d.objid = i.objoid AND d.deptype = 'e'
        JOIN pg_extension AS e ON e.oid = d.refobjid AND e.extname = 'hypercube'
    """,
    "default privileges": """
        SELECT format('%s %s', pg_get_userbyid(d.defaclrole), d.defaclobjtype), d.defaclacl::text
        FROM pg_default_acl AS d WHERE d.defaclnamespace = 'hypercube'::regnamespace
    """,
    "owner": """
        SELECT pg_get_userbyid(o.owner) || ' owns ' || o.kind, o.names::text
        FROM (
            SELECT 'relations' AS kind, relowner AS owner, array_agg(relname ORDER BY relname) AS names
            FROM pg_class WHERE relnamespace = 'hypercube'::regnamespace AND relkind <> 't' GROUP BY relowner
            UNION ALL SELECT 'functions', proowner, array_agg(oid::regprocedure::text::name ORDER BY oid::regprocedure::text)
            FROM pg_proc WHERE pronamespace = 'hypercube'::regnamespace GROUP BY proowner
            UNION ALL SELECT 'schema', nspowner, array_agg(nspname) FROM pg_namespace WHERE nspname = 'hypercube' GROUP BY nspowner
        ) AS o
    """,
    # Their order says nothing: pg_dump makes its own.
    "rows that travel with a dump": """
        SELECT t.config::regclass::text, 'where ' || e.extcondition[t.place]
        FROM pg_extension AS e, unnest(e.extconfig) WITH ORDINALITY AS t (config, place)
        WHERE e.extname = 'hypercube'
    """,
    "extension": """
        SELECT e.extname, concat_ws(', ', 'version ' || e.extversion, 'schema ' || e.extnamespace::regnamespace,
            'relocatable ' || e.extrelocatable, (
                SELECT 'requires ' || string_agg(r.extname, ', ' ORDER BY r.extname) FROM pg_depend AS d
                JOIN pg_extension AS r ON r.oid = d.refobjid
                WHERE d.classid = 'pg_extension'::regclass AND d.refclassid = 'pg_extension'::regclass AND d.objid = e.oid))
        FROM pg_extension AS e WHERE e.extname = 'hypercube'
    """,
    "role": """
        SELECT r.rolname, concat_ws(', ', r.rolsuper, r.rolinherit, r.rolcreaterole, r.rolcreatedb, r.rolcanlogin,
            r.rolreplication, r.rolbypassrls, r.rolconnlimit, r.rolconfig, (
                SELECT 'in ' || string_agg(g.rolname, ', ' ORDER BY g.rolname) FROM pg_auth_members AS m
                JOIN pg_roles AS g ON g.oid = m.roleid WHERE m.member = r.oid))
        FROM pg_roles AS r WHERE r.rolname LIKE 'hypercube%'
    """,
    "event trigger": "SELECT evtname, concat_ws(', ', evtevent, evtfoid::regprocedure, evtenabled, evttags) FROM pg_event_trigger",
}  # fmt: skip

# Tables whose first rows the install script writes itself.
_ROWS = ("relation_kind", "atom_map")


def snapshot(db):
    """Return what is said of every object, by (kind, name)."""
    db.execute("SET search_path = pg_catalog, pg_temp")
    found = {
        (kind, str(name)): str(said)
        for kind, statement in _STATEMENTS.items()
        for name, said in db.execute(statement).fetchall()
    }
    for table in _ROWS:
        for (row,) in db.execute(f"SELECT t::text FROM hypercube.{table} AS t").fetchall():
            found["row", f"{table} {row}"] = ""
    db.execute("RESET search_path")
    return found


def differences(wanted, found):
    """Return a line for each thing that is missing, too much, or not as wanted."""
    lines = [f"missing: {' '.join(name)}" for name in sorted(wanted.keys() - found.keys())]
    lines += [f"too much: {' '.join(name)}" for name in sorted(found.keys() - wanted.keys())]
    lines += [
        f"differs: {' '.join(name)}\n  wanted: {wanted[name]}\n  found:  {found[name]}"
        for name in sorted(wanted.keys() & found.keys())
        if wanted[name] != found[name]
    ]
    return lines
