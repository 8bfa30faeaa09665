-- Who sees which rows.  A model or document is seen by its owner, by those it was granted to and, if it is
-- public, by everybody; every other row by who sees the model or document that it belongs to.  Policies look
-- at current_user and its memberships alone, and each one reads the table above it under that table's own
-- policy.  There are none for writing: no role has the right to, and none would have a row to write.


ALTER TABLE hypercube.model ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.model FORCE ROW LEVEL SECURITY;
CREATE POLICY model_visible ON hypercube.model FOR SELECT
    USING (pg_has_role(to_regrole(quote_ident(owner)), 'MEMBER')
        OR EXISTS (
            SELECT FROM unnest(model.readers) AS g (grantee)
            WHERE g.grantee = 'public' OR pg_has_role(to_regrole(quote_ident(g.grantee)), 'MEMBER')
        ));
CREATE POLICY model_admin ON hypercube.model FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.model_file ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.model_file FORCE ROW LEVEL SECURITY;
CREATE POLICY model_file_visible ON hypercube.model_file FOR SELECT
    USING (EXISTS (SELECT FROM hypercube.model AS m WHERE m.id = model_file.model_id));
CREATE POLICY model_file_admin ON hypercube.model_file FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.tensor ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.tensor FORCE ROW LEVEL SECURITY;
CREATE POLICY tensor_visible ON hypercube.tensor FOR SELECT
    USING (EXISTS (SELECT FROM hypercube.model AS m WHERE m.id = tensor.model_id));
CREATE POLICY tensor_admin ON hypercube.tensor FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.token ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.token FORCE ROW LEVEL SECURITY;
CREATE POLICY token_visible ON hypercube.token FOR SELECT
    USING (EXISTS (SELECT FROM hypercube.model AS m WHERE m.id = token.model_id));
CREATE POLICY token_admin ON hypercube.token FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.relation ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.relation FORCE ROW LEVEL SECURITY;
CREATE POLICY relation_visible ON hypercube.relation FOR SELECT
    USING (EXISTS (SELECT FROM hypercube.model AS m WHERE m.id = relation.model_id));
CREATE POLICY relation_admin ON hypercube.relation FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.projection ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.projection FORCE ROW LEVEL SECURITY;
CREATE POLICY projection_visible ON hypercube.projection FOR SELECT
    USING (EXISTS (SELECT FROM hypercube.model AS m WHERE m.id = projection.model_id));
CREATE POLICY projection_admin ON hypercube.projection FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.projection_metadata ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.projection_metadata FORCE ROW LEVEL SECURITY;
CREATE POLICY projection_metadata_visible ON hypercube.projection_metadata FOR SELECT
    USING (EXISTS (SELECT FROM hypercube.model AS m WHERE m.id = projection_metadata.model_id));
CREATE POLICY projection_metadata_admin ON hypercube.projection_metadata FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.expectation ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.expectation FORCE ROW LEVEL SECURITY;
-- What the consensus was made from names models that not everybody sees.
CREATE POLICY expectation_visible ON hypercube.expectation FOR SELECT
    USING (kind <> 'consensus' AND EXISTS (SELECT FROM hypercube.model AS m WHERE m.id = expectation.model_id));
CREATE POLICY expectation_admin ON hypercube.expectation FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.index_recall ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.index_recall FORCE ROW LEVEL SECURITY;
CREATE POLICY index_recall_visible ON hypercube.index_recall FOR SELECT
    USING (EXISTS (SELECT FROM hypercube.model AS m WHERE m.id = index_recall.model_id));
CREATE POLICY index_recall_admin ON hypercube.index_recall FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.tensor_chunk ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.tensor_chunk FORCE ROW LEVEL SECURITY;
CREATE POLICY tensor_chunk_visible ON hypercube.tensor_chunk FOR SELECT
    USING (EXISTS (SELECT FROM hypercube.tensor AS t WHERE t.digest = tensor_chunk.tensor_digest AND t.stored));
CREATE POLICY tensor_chunk_admin ON hypercube.tensor_chunk FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.chunk ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.chunk FORCE ROW LEVEL SECURITY;
CREATE POLICY chunk_visible ON hypercube.chunk FOR SELECT
    USING (EXISTS (SELECT FROM hypercube.tensor_chunk AS p WHERE p.chunk_digest = chunk.digest));
CREATE POLICY chunk_admin ON hypercube.chunk FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.document ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.document FORCE ROW LEVEL SECURITY;
CREATE POLICY document_visible ON hypercube.document FOR SELECT
    USING (pg_has_role(to_regrole(quote_ident(owner)), 'MEMBER')
        OR EXISTS (
            SELECT FROM unnest(document.readers) AS g (grantee)
            WHERE g.grantee = 'public' OR pg_has_role(to_regrole(quote_ident(g.grantee)), 'MEMBER')
        ));
CREATE POLICY document_admin ON hypercube.document FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.sentence ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.sentence FORCE ROW LEVEL SECURITY;
CREATE POLICY sentence_visible ON hypercube.sentence FOR SELECT
    USING (EXISTS (SELECT FROM hypercube.document AS d WHERE d.id = sentence.document_id));
CREATE POLICY sentence_admin ON hypercube.sentence FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.sentence_search ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.sentence_search FORCE ROW LEVEL SECURITY;
CREATE POLICY sentence_search_visible ON hypercube.sentence_search FOR SELECT
    USING (EXISTS (
        SELECT FROM hypercube.sentence AS s
        JOIN hypercube.document AS d ON d.id = s.document_id
        WHERE s.composition_id = sentence_search.composition_id AND d.language = sentence_search.language
    ));
CREATE POLICY sentence_search_admin ON hypercube.sentence_search FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.sentence_token ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.sentence_token FORCE ROW LEVEL SECURITY;
CREATE POLICY sentence_token_visible ON hypercube.sentence_token FOR SELECT
    USING (EXISTS (
        SELECT FROM hypercube.sentence AS s
        JOIN hypercube.document AS d ON d.id = s.document_id
        JOIN hypercube.model AS m ON m.id = d.model_id
        WHERE s.composition_id = sentence_token.composition_id AND m.id = sentence_token.model_id
    ));
CREATE POLICY sentence_token_admin ON hypercube.sentence_token FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.sentence_vector ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.sentence_vector FORCE ROW LEVEL SECURITY;
CREATE POLICY sentence_vector_visible ON hypercube.sentence_vector FOR SELECT
    USING (EXISTS (
        SELECT FROM hypercube.sentence AS s
        JOIN hypercube.document AS d ON d.id = s.document_id
        JOIN hypercube.model AS m ON m.id = d.model_id
        WHERE s.composition_id = sentence_vector.composition_id AND m.id = sentence_vector.model_id
    ));
CREATE POLICY sentence_vector_admin ON hypercube.sentence_vector FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.sequence ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.sequence FORCE ROW LEVEL SECURITY;
CREATE POLICY sequence_visible ON hypercube.sequence FOR SELECT
    USING (EXISTS (SELECT FROM hypercube.document AS d WHERE d.id = sequence.document_id)
        AND EXISTS (SELECT FROM hypercube.model AS m WHERE m.id = sequence.model_id));
CREATE POLICY sequence_admin ON hypercube.sequence FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.text_state ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.text_state FORCE ROW LEVEL SECURITY;
CREATE POLICY text_state_visible ON hypercube.text_state FOR SELECT
    USING (EXISTS (
        SELECT FROM hypercube.model AS m WHERE m.id = text_state.model_id AND pg_has_role(to_regrole(quote_ident(m.owner)), 'MEMBER')
    ));
CREATE POLICY text_state_admin ON hypercube.text_state FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.kept_composition ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.kept_composition FORCE ROW LEVEL SECURITY;
CREATE POLICY kept_composition_visible ON hypercube.kept_composition FOR SELECT
    USING (pg_has_role(to_regrole(quote_ident(owner)), 'MEMBER'));
CREATE POLICY kept_composition_admin ON hypercube.kept_composition FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.holder ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.holder FORCE ROW LEVEL SECURITY;
CREATE POLICY holder_visible ON hypercube.holder FOR SELECT
    USING (EXISTS (SELECT FROM hypercube.model AS m WHERE m.id = holder.model_id)
        OR EXISTS (SELECT FROM hypercube.document AS d WHERE d.id = holder.document_id)
        OR pg_has_role(to_regrole(quote_ident(role)), 'MEMBER'));
CREATE POLICY holder_admin ON hypercube.holder FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.holding ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.holding FORCE ROW LEVEL SECURITY;
CREATE POLICY holding_visible ON hypercube.holding FOR SELECT
    USING (EXISTS (SELECT FROM hypercube.holder AS h WHERE h.id = holding.holder_id));
CREATE POLICY holding_admin ON hypercube.holding FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.composition ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.composition FORCE ROW LEVEL SECURITY;
CREATE POLICY composition_visible ON hypercube.composition FOR SELECT
    USING (EXISTS (SELECT FROM hypercube.holding AS h WHERE h.composition_id = composition.id));
CREATE POLICY composition_admin ON hypercube.composition FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.atom ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.atom FORCE ROW LEVEL SECURITY;
CREATE POLICY atom_visible ON hypercube.atom FOR SELECT
    USING ((SELECT v.seeded FROM hypercube.atom_map AS v)
        OR EXISTS (SELECT FROM hypercube.holding AS h WHERE h.composition_id = atom.id));
CREATE POLICY atom_admin ON hypercube.atom FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.upload ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.upload FORCE ROW LEVEL SECURITY;
CREATE POLICY upload_visible ON hypercube.upload FOR SELECT
    USING (pg_has_role(to_regrole(quote_ident(owner)), 'MEMBER'));
CREATE POLICY upload_admin ON hypercube.upload FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.upload_part ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.upload_part FORCE ROW LEVEL SECURITY;
CREATE POLICY upload_part_visible ON hypercube.upload_part FOR SELECT
    USING (EXISTS (SELECT FROM hypercube.upload AS u WHERE u.id = upload_part.upload_id));
CREATE POLICY upload_part_admin ON hypercube.upload_part FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.allowed_source ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.allowed_source FORCE ROW LEVEL SECURITY;
CREATE POLICY allowed_source_visible ON hypercube.allowed_source FOR SELECT
    USING (pg_has_role(to_regrole(quote_ident(role)), 'MEMBER'));
CREATE POLICY allowed_source_admin ON hypercube.allowed_source FOR SELECT TO hypercube_admin
    USING (true);


ALTER TABLE hypercube.allowed_target ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.allowed_target FORCE ROW LEVEL SECURITY;
CREATE POLICY allowed_target_visible ON hypercube.allowed_target FOR SELECT
    USING (pg_has_role(to_regrole(quote_ident(role)), 'MEMBER'));
CREATE POLICY allowed_target_admin ON hypercube.allowed_target FOR SELECT TO hypercube_admin
    USING (true);


-- For nobody: what they tell is looked up for the caller.
ALTER TABLE hypercube.writer_turn ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.writer_turn FORCE ROW LEVEL SECURITY;
ALTER TABLE hypercube.reader_change ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.reader_change FORCE ROW LEVEL SECURITY;


-- One row that is the same for all.
ALTER TABLE hypercube.atom_map ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.atom_map FORCE ROW LEVEL SECURITY;
CREATE POLICY atom_map_visible ON hypercube.atom_map FOR SELECT
    USING (true);

ALTER TABLE hypercube.relation_kind ENABLE ROW LEVEL SECURITY;
ALTER TABLE hypercube.relation_kind FORCE ROW LEVEL SECURITY;
CREATE POLICY relation_kind_visible ON hypercube.relation_kind FOR SELECT
    USING (true);
