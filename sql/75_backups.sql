-- Which backups were made and verified.  About the files of this cluster: a dump does not take it along, or a
-- database that was copied would claim backups that it does not have.


CREATE TABLE hypercube.backup_record (
    label text NOT NULL,
    kind text NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    bytes bigint NOT NULL,
    recorded_by name NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT backup_record_pkey PRIMARY KEY (kind, finished_at, label),
    CONSTRAINT backup_record_kind CHECK (kind IN ('full', 'diff', 'incr', 'verify')),
    CONSTRAINT backup_record_label CHECK (label ~ '^[[:graph:]]{1,200}$'),
    CONSTRAINT backup_record_times CHECK (finished_at >= started_at),
    CONSTRAINT backup_record_bytes CHECK (bytes >= 0)
);

COMMENT ON TABLE hypercube.backup_record
    IS 'backups that were made and verified; record_backup writes it';
COMMENT ON COLUMN hypercube.backup_record.label
    IS 'what the program that makes backups calls it';
COMMENT ON COLUMN hypercube.backup_record.kind
    IS 'full, diff, incr, or verify: that it was restored and looked at';
COMMENT ON COLUMN hypercube.backup_record.bytes
    IS 'how large it is, of verify how much was restored';


ALTER TABLE hypercube.backup_record ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.backup_record FORCE ROW LEVEL SECURITY;
CREATE POLICY backup_record_admin ON hypercube.backup_record FOR SELECT TO hypercube_admin, hypercube_monitor USING (true);


CREATE FUNCTION hypercube.record_backup(
    label text,
    kind text,
    started_at timestamptz,
    finished_at timestamptz,
    bytes bigint
)
    RETURNS void
    LANGUAGE plpython3u
    VOLATILE
    PARALLEL UNSAFE
    SET search_path = pg_catalog, pg_temp
AS $python$
from hypercube import operate_api
return operate_api.record_backup(label, kind, started_at, finished_at, bytes)
$python$;

COMMENT ON FUNCTION hypercube.record_backup(text, text, timestamptz, timestamptz, bigint)
    IS 'writes down that a backup was made or verified; for members of hypercube_admin and superusers';
