"""Everything hypercube can refuse to do.

* HypercubeError                58000
  + UnknownToken                42704  undefined_object
  + UnknownUpload               42704
  + UnknownComposition          42704
  + UnknownDocument             42704
  + UnknownLanguage             42704
  + UnknownRole                 42704
  + UnknownSegment              42704
  + Unrepresentable             22021  character_not_in_repertoire
  + NameTaken                   42710  duplicate_object
  + FileExists                  58P02  duplicate_file
  + NotWritten                  58030  io_error; 53100 disk_full where there is no room
  + InvalidArgument             22023  invalid_parameter_value
  + SourceMissing               58P01  undefined_file
  + NotAllowed                  42501  insufficient_privilege
  + CorruptFile                 XX001  data_corrupted
  + NotSupported                0A000  feature_not_supported
  + TooMuchMemory               53200  out_of_memory
  + TooMany                     54000  program_limit_exceeded
  + LimitReached                53400  configuration_limit_exceeded
  + Locked                      55P03  lock_not_available
  + StepMissing                 55000  object_not_in_prerequisite_state
  + ReadOnly                    25006  read_only_sql_transaction
  + OtherVersion                55000
  + NotConverged                58000
  + ClientGone                  08006  connection_failure
  + PostconditionFailed         XX000  internal_error
"""

import errno
import re

_NAMED = 50
_DISK_FULL = "53100"


class HypercubeError(Exception):
    """Base of every refusal; knows how PostgreSQL should report it."""

    sqlstate = "58000"

    def __init__(self, message, *, detail=None, hint=None):
        super().__init__(message)
        self.detail = detail
        self.hint = hint


class UnknownToken(HypercubeError):
    """Words that cannot be spelled in a model's vocabulary."""

    sqlstate = "42704"

    def __init__(self, words, model):
        named = ", ".join(f'"{word}"' for word in words[:_NAMED])
        if len(words) > _NAMED:
            named += f" and {len(words) - _NAMED} more are"
        super().__init__(
            f'{"word" if len(words) == 1 else "words"} {named} not known to model "{model}"',
            hint="Look for a spelling with "
            "SELECT label FROM hypercube.token_overview WHERE model = '...' AND label ILIKE '...%'.",
        )


class UnknownUpload(HypercubeError):
    """An upload that does not exist, or is somebody else's."""

    sqlstate = "42704"

    def __init__(self, upload_id):
        super().__init__(
            f"upload {'null' if upload_id is None else upload_id} does not exist",
            hint="Begin one with SELECT hypercube.upload_begin(name, path).",
        )


class UnknownComposition(HypercubeError):
    """A composition that is not stored, or not for this caller."""

    sqlstate = "42704"

    def __init__(self, composition_id, message=None, hint=None):
        super().__init__(
            message or f"composition \\x{composition_id.hex()} does not exist",
            hint=hint or "Look it up with SELECT hypercube.find_composition('...').",
        )


class UnknownDocument(HypercubeError):
    """A document that is not stored, or not for this caller."""

    sqlstate = "42704"

    def __init__(self, name):
        super().__init__(
            f'document "{name}" does not exist',
            hint="List the documents with SELECT name FROM hypercube.document.",
        )


class UnknownLanguage(HypercubeError):
    """A text search configuration that is not there."""

    sqlstate = "42704"

    def __init__(self, name):
        super().__init__(
            f'text search configuration "{name}" does not exist, or not for everybody',
            hint="SELECT cfgname FROM pg_ts_config lists them; one of your own is named with its schema,"
            " which has to be for everybody.",
        )


class UnknownRole(HypercubeError):
    """A role that is not there."""

    sqlstate = "42704"

    def __init__(self, role):
        super().__init__(
            "the role must not be null" if role is None else f'role "{role}" does not exist',
            hint="SELECT rolname FROM pg_roles lists them.",
        )


class UnknownSegment(HypercubeError):
    """A segment of the audit that was never sealed."""

    sqlstate = "42704"

    def __init__(self, number):
        super().__init__(
            f"segment {number} of the audit does not exist", hint="SELECT * FROM hypercube.audit_segment."
        )


class Unrepresentable(HypercubeError):
    """Bytes that are no text, or a text that the type text cannot hold."""

    sqlstate = "22021"


class FileExists(HypercubeError):
    """A file would have to be overwritten."""

    sqlstate = "58P02"

    def __init__(self, path):
        super().__init__(
            f'file "{path}" exists already', hint="Name an empty folder, or one that does not exist yet."
        )


class NotWritten(HypercubeError):
    """The server could not write a file; where the disk is full, it says so as the server does (53100)."""

    sqlstate = "58030"

    def __init__(self, path, problem):
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            self.sqlstate = _DISK_FULL
        super().__init__(
            f'file "{path}" could not be written ({problem.strerror})',
            hint="The folder has to be writable by the operating system user of the server, with room left.",
        )


class NameTaken(HypercubeError):
    """A model or document of that name is stored already."""

    sqlstate = "42710"

    def __init__(self, name, *, document=False):
        if document:
            hint = "Put the new text in its place with replace => true, or give another name."
        else:
            hint = (
                "Drop it with SELECT hypercube.drop_model(...), or give another name: "
                "hypercube.ingest(source, name => '...')."
            )
        super().__init__(f'{"document" if document else "model"} "{name}" already exists', hint=hint)


class InvalidArgument(HypercubeError):
    """An argument is NULL, out of range or of the wrong length."""

    sqlstate = "22023"


class SourceMissing(HypercubeError):
    """A file or folder that has to be there is not."""

    sqlstate = "58P01"


class NotAllowed(HypercubeError):
    """The path or the object is not for this caller."""

    sqlstate = "42501"


class CorruptFile(HypercubeError):
    """A file does not hold what its format promises."""

    sqlstate = "XX001"


class NotSupported(HypercubeError):
    """The file is sound, but hypercube cannot decode what it holds."""

    sqlstate = "0A000"


class TooMuchMemory(HypercubeError):
    """The computation would need more memory than the setting allows."""

    sqlstate = "53200"


class TooMany(HypercubeError):
    """More rows, entries or bytes than hypercube accepts."""

    sqlstate = "54000"


class LimitReached(HypercubeError):
    """What an administrator allows a role is used up."""

    sqlstate = "53400"


def reported_as(problem):
    """Return message, SQLSTATE, detail and hint of a refusal, or of a MemoryError, which is the machine's."""
    if isinstance(problem, MemoryError):
        problem = TooMuchMemory(
            "out of memory",
            detail=str(problem) or None,
            hint="The machine, or a limit of the server's processes, had no more for this session: ask or"
            " store less at once, or try again when others have ended.",
        )
    return str(problem), problem.sqlstate, problem.detail, problem.hint


def who_raises(role, what):
    """Return the hint for a role that is held to a limit."""
    return (
        "A member of hypercube_admin can raise it:"
        f" SELECT hypercube.set_limit({quoted(role)}, '{what}', ...)."
    )


def quoted(name):
    """Return a name as it stands in a statement that somebody is to run."""
    return "'" + name.replace("'", "''") + "'"


class Locked(HypercubeError):
    """Other transactions have what would have to wait for them."""

    sqlstate = "55P03"


class StepMissing(HypercubeError):
    """Something has to be done first."""

    sqlstate = "55000"


class ReadOnly(HypercubeError):
    """Something would be written on a standby, or in a transaction that only reads."""

    sqlstate = "25006"

    def __init__(self, *, standby):
        if standby:
            what = "on a standby"
            hint = "Connect to the primary: of several hosts, target_session_attrs=read-write chooses it."
        else:
            what = "in a read-only transaction"
            hint = (
                "Use BEGIN READ WRITE; SHOW default_transaction_read_only tells whether"
                " transactions of this session begin read-only."
            )
        super().__init__(f"nothing can be written {what}", hint=hint)


class OtherVersion(HypercubeError):
    """The Python package that this session has loaded is not that of the extension in this database."""

    sqlstate = "55000"

    def __init__(self, extension, package):
        older, newer = ([int(part) for part in re.findall(r"\d+", one)] for one in (extension, package))
        super().__init__(
            f"the extension in this database has version {extension}, this session's package {package}",
            hint="Run ALTER EXTENSION hypercube UPDATE in this database."
            if older < newer
            else f"Run make install in the folder of hypercube {extension}, then connect again.",
        )


class NotConverged(HypercubeError):
    """The eigensolver did not reach its tolerance."""

    sqlstate = "58000"


class ClientGone(HypercubeError):
    """The client closed its connection; nobody waits for the answer."""

    sqlstate = "08006"

    def __init__(self):
        super().__init__("client closed the connection")


class PostconditionFailed(HypercubeError):
    """An ingest did not leave what it has to leave; it is a defect."""

    sqlstate = "XX000"
