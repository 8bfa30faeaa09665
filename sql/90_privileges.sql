-- Nothing is for everybody.  doc/security.md says what to grant to whom.
REVOKE ALL ON SCHEMA hypercube FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA hypercube FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA hypercube FROM PUBLIC;
REVOKE ALL ON TYPE
    hypercube.token_kind, hypercube.answer, hypercube.batch_answer, hypercube._batch, hypercube.ingest_report, hypercube.drop_report,
    hypercube.hilbert_interval, hypercube.spelling, hypercube.text_report, hypercube.text_drop_report, hypercube._tokens,
    hypercube.continuation, hypercube.passage, hypercube.found_passage
    FROM PUBLIC;
