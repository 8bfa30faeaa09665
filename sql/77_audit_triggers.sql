-- Which tables the audit watches, also where session_replication_role = replica.  The rows of a statement
-- are kept for its triggers, except for what comes with large columns.

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.model REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.model REFERENCING OLD TABLE AS gone NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.model REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.model FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
ALTER TABLE hypercube.model ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.document REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.document REFERENCING OLD TABLE AS gone NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.document REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.document FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
ALTER TABLE hypercube.document ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.allowed_source REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.allowed_source REFERENCING OLD TABLE AS gone NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.allowed_source REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.allowed_source FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
ALTER TABLE hypercube.allowed_source ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.allowed_target REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.allowed_target REFERENCING OLD TABLE AS gone NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.allowed_target REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.allowed_target FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
ALTER TABLE hypercube.allowed_target ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.upload REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.upload REFERENCING OLD TABLE AS gone NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.upload REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.upload FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
ALTER TABLE hypercube.upload ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.kept_composition REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.kept_composition REFERENCING OLD TABLE AS gone NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.kept_composition REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.kept_composition FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
ALTER TABLE hypercube.kept_composition ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.role_limit REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.role_limit REFERENCING OLD TABLE AS gone NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.role_limit REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.role_limit FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
ALTER TABLE hypercube.role_limit ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.backup_record REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.backup_record REFERENCING OLD TABLE AS gone NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.backup_record REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.backup_record FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_head();
ALTER TABLE hypercube.backup_record ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.model_file FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.model_file REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.model_file REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.model_file FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.model_file ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.tensor REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.tensor REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.tensor REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.tensor FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.tensor ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.chunk FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.chunk REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.chunk REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.chunk FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.chunk ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.tensor_chunk REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.tensor_chunk REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.tensor_chunk REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.tensor_chunk FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.tensor_chunk ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.atom REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.atom REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.atom REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.atom FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.atom ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.atom_map REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.atom_map REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.atom_map REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.atom_map FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.atom_map ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.composition REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.composition REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.composition REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.composition FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.composition ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.holder REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.holder REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.holder REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.holder FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.holder ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.holding REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.holding REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.holding REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.holding FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.holding ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.token REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.token REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.token REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.token FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.token ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.relation_kind REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.relation_kind REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.relation_kind REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.relation_kind FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.relation_kind ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.relation REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.relation REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.relation REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.relation FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.relation ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.projection REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.projection REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.projection REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.projection FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.projection ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.projection_metadata REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.projection_metadata REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.projection_metadata REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.projection_metadata FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.projection_metadata ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.expectation REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.expectation REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.expectation REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.expectation FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.expectation ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.upload_part FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.upload_part REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.upload_part REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.upload_part FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.upload_part ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.sentence REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.sentence REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.sentence REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.sentence FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.sentence ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.sentence_search REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.sentence_search REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.sentence_search REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.sentence_search FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.sentence_search ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.sentence_token REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.sentence_token REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.sentence_token REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.sentence_token FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.sentence_token ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.sentence_vector FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.sentence_vector REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.sentence_vector REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.sentence_vector FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.sentence_vector ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.sequence REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.sequence REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.sequence REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.sequence FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.sequence ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.text_state REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.text_state REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.text_state REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.text_state FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.text_state ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.limit_turn REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.limit_turn REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.limit_turn REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.limit_turn FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.limit_turn ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.reader_change REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.reader_change REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.reader_change REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.reader_change FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.reader_change ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;

CREATE TRIGGER audit_insert AFTER INSERT ON hypercube.writer_turn REFERENCING NEW TABLE AS come FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_update AFTER UPDATE ON hypercube.writer_turn REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_delete AFTER DELETE ON hypercube.writer_turn REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
CREATE TRIGGER audit_truncate AFTER TRUNCATE ON hypercube.writer_turn FOR EACH STATEMENT EXECUTE FUNCTION hypercube._audit_bulk();
ALTER TABLE hypercube.writer_turn ENABLE ALWAYS TRIGGER audit_insert, ENABLE ALWAYS TRIGGER audit_update, ENABLE ALWAYS TRIGGER audit_delete, ENABLE ALWAYS TRIGGER audit_truncate;
