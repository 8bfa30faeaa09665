-- Nothing is for everybody; what is for whom stands here.  A right to call a function is no right to what it
-- asks for: that is decided by whom the model or document belongs to.
REVOKE ALL ON SCHEMA hypercube FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA hypercube FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA hypercube FROM PUBLIC;
REVOKE ALL ON TYPE
    hypercube.token_kind, hypercube.answer, hypercube.batch_answer, hypercube._batch, hypercube.ingest_report, hypercube.drop_report,
    hypercube.hilbert_interval, hypercube.spelling, hypercube.text_report, hypercube.text_drop_report, hypercube._tokens,
    hypercube.continuation, hypercube.passage, hypercube.found_passage
    FROM PUBLIC;

GRANT USAGE ON SCHEMA hypercube TO hypercube_reader, hypercube_auditor;
GRANT USAGE ON TYPE
    hypercube.token_kind, hypercube.answer, hypercube.batch_answer, hypercube._batch, hypercube.ingest_report, hypercube.drop_report,
    hypercube.hilbert_interval, hypercube.spelling, hypercube.text_report, hypercube.text_drop_report, hypercube._tokens,
    hypercube.continuation, hypercube.passage, hypercube.found_passage
    TO hypercube_reader;


-- Readers: what questions need, and no bytes of tensors or vectors of sentences, which are read for them.
GRANT SELECT ON
    hypercube.model, hypercube.model_file, hypercube.tensor, hypercube.token, hypercube.relation,
    hypercube.relation_kind, hypercube.projection, hypercube.projection_metadata, hypercube.expectation, hypercube.index_recall,
    hypercube.atom, hypercube.atom_map, hypercube.composition, hypercube.composition_child, hypercube.holder, hypercube.holding,
    hypercube.kept_composition, hypercube.document, hypercube.sentence, hypercube.sentence_search,
    hypercube.sequence, hypercube.text_state,
    hypercube.model_overview, hypercube.tensor_overview, hypercube.token_overview, hypercube.relation_overview, hypercube.map,
    hypercube.atom_overview, hypercube.document_overview, hypercube.sentence_overview, hypercube.grant_overview,
    hypercube.progress, hypercube._word_edge
    TO hypercube_reader;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA hypercube TO hypercube_reader;


-- Those who bring models and texts.
REVOKE EXECUTE ON FUNCTION
    hypercube.allow_source, hypercube.disallow_source, hypercube.allow_target, hypercube.disallow_target,
    hypercube.ingest, hypercube.drop_model, hypercube.export_model,
    hypercube.upload_begin, hypercube.upload_part, hypercube.upload_finish, hypercube.upload_cancel, hypercube.ingest_upload,
    hypercube.create_vector_index, hypercube.drop_vector_index, hypercube.measure_recall,
    hypercube.compose(text), hypercube.compose(bytea), hypercube.drop_composition,
    hypercube.ingest_text(text, text, text, jsonb, text, boolean, boolean),
    hypercube.ingest_text(text, bytea, text, jsonb, text, boolean, boolean),
    hypercube.ingest_texts, hypercube.ingest_texts_from, hypercube.drop_document, hypercube.read_documents, hypercube.embed_documents,
    hypercube.relate_sequences, hypercube.grant_model, hypercube.revoke_model, hypercube.give_model,
    hypercube.grant_document, hypercube.revoke_document, hypercube.give_document
    FROM hypercube_reader;
GRANT EXECUTE ON FUNCTION
    hypercube.allow_source, hypercube.disallow_source, hypercube.allow_target, hypercube.disallow_target,
    hypercube.ingest, hypercube.drop_model, hypercube.export_model,
    hypercube.upload_begin, hypercube.upload_part, hypercube.upload_finish, hypercube.upload_cancel, hypercube.ingest_upload,
    hypercube.create_vector_index, hypercube.drop_vector_index, hypercube.measure_recall,
    hypercube.compose(text), hypercube.compose(bytea), hypercube.drop_composition,
    hypercube.ingest_text(text, text, text, jsonb, text, boolean, boolean),
    hypercube.ingest_text(text, bytea, text, jsonb, text, boolean, boolean),
    hypercube.ingest_texts, hypercube.ingest_texts_from, hypercube.drop_document, hypercube.read_documents, hypercube.embed_documents,
    hypercube.relate_sequences, hypercube.grant_model, hypercube.revoke_model, hypercube.give_model,
    hypercube.grant_document, hypercube.revoke_document, hypercube.give_document
    TO hypercube_ingest;
GRANT SELECT ON hypercube.upload, hypercube.allowed_source, hypercube.allowed_target TO hypercube_ingest;


-- Those who look after all of it.
REVOKE EXECUTE ON FUNCTION
    hypercube.set_limit, hypercube.unset_limit,
    hypercube.refresh_consensus, hypercube.seed_atoms, hypercube.maintain, hypercube._environment_health,
    hypercube._server_health, hypercube._vectors_health, hypercube._orphans_health, hypercube._broken_postconditions, hypercube._fingerprints
    FROM hypercube_reader;
GRANT EXECUTE ON FUNCTION
    hypercube.set_limit, hypercube.unset_limit,
    hypercube.refresh_consensus, hypercube.seed_atoms, hypercube.maintain, hypercube._environment_health,
    hypercube._server_health, hypercube._vectors_health, hypercube._orphans_health, hypercube._broken_postconditions, hypercube._fingerprints
    TO hypercube_admin;
GRANT SELECT ON
    hypercube.chunk, hypercube.tensor_chunk, hypercube.sentence_token, hypercube.sentence_vector, hypercube.upload_part,
    hypercube.relation_consensus
    TO hypercube_admin;


-- Those who watch the server.  What the parts of it granted stands.
REVOKE EXECUTE ON FUNCTION hypercube.metrics, hypercube.metrics_text FROM hypercube_reader;
REVOKE EXECUTE ON FUNCTION hypercube.record_backup FROM hypercube_reader;
GRANT EXECUTE ON FUNCTION hypercube.record_backup TO hypercube_admin;


-- Those who watch over the others, and what is for no caller.  What the parts of the audit granted stands.
REVOKE EXECUTE ON FUNCTION
    hypercube.audit_verify, hypercube.audit_checkpoint, hypercube.audit_collect, hypercube.audit_seal,
    hypercube.audit_drop_segment, hypercube._begin_audit, hypercube._audit_head, hypercube._audit_bulk, hypercube._keep_audit
    FROM hypercube_reader;
