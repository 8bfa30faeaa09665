-- What the planner knows.  Policies keep rows back, but not the statistics of all rows, which a plan shows as
-- estimates to whoever may read some: names and texts of others could be searched for letter by letter.  So
-- there are statistics of keys and counts alone: of what is only looked up, unique or in small tables plans
-- need none.  Where a plan has to know how many different values there are, the most common, the least and the
-- greatest are kept, and these are a digest, the number of a token or a language.


ALTER TABLE hypercube.allowed_source
    ALTER path SET STATISTICS 0, ALTER role SET STATISTICS 0, ALTER added_by SET STATISTICS 0,
    ALTER added_at SET STATISTICS 0;

ALTER TABLE hypercube.allowed_target
    ALTER path SET STATISTICS 0, ALTER role SET STATISTICS 0, ALTER added_by SET STATISTICS 0,
    ALTER added_at SET STATISTICS 0;

ALTER TABLE hypercube.model
    ALTER name SET STATISTICS 0, ALTER architecture SET STATISTICS 0, ALTER dimension SET STATISTICS 0,
    ALTER vocabulary_size SET STATISTICS 0, ALTER embedding SET STATISTICS 0, ALTER tokenizer SET STATISTICS 0,
    ALTER neighbors SET STATISTICS 0, ALTER root SET STATISTICS 0, ALTER config SET STATISTICS 0,
    ALTER metadata SET STATISTICS 0, ALTER licence SET STATISTICS 0, ALTER owner SET STATISTICS 0,
    ALTER readers SET STATISTICS 0, ALTER created_at SET STATISTICS 0, ALTER report SET STATISTICS 0;

ALTER TABLE hypercube.model_file
    ALTER path SET STATISTICS 0, ALTER content SET STATISTICS 0, ALTER digest SET STATISTICS 0;

ALTER TABLE hypercube.tensor
    ALTER name SET STATISTICS 0, ALTER role SET STATISTICS 0, ALTER layer SET STATISTICS 0,
    ALTER dtype SET STATISTICS 0, ALTER shape SET STATISTICS 0, ALTER elements SET STATISTICS 0,
    ALTER file SET STATISTICS 0, ALTER byte_offset SET STATISTICS 0, ALTER bytes SET STATISTICS 0,
    ALTER digest SET STATISTICS 0, ALTER nan_count SET STATISTICS 0, ALTER inf_count SET STATISTICS 0,
    ALTER zero_count SET STATISTICS 0, ALTER minimum SET STATISTICS 0, ALTER maximum SET STATISTICS 0,
    ALTER mean SET STATISTICS 0, ALTER deviation SET STATISTICS 0, ALTER stored SET STATISTICS 0,
    ALTER skipped SET STATISTICS 0, ALTER scaling SET STATISTICS 0;

ALTER TABLE hypercube.token
    ALTER piece SET STATISTICS 0, ALTER label SET STATISTICS 0, ALTER folded SET STATISTICS 0,
    ALTER composition_id SET STATISTICS 1;

ALTER TABLE hypercube.relation ALTER weight SET STATISTICS 0;

ALTER TABLE hypercube.projection ALTER point SET STATISTICS 0, ALTER hilbert SET STATISTICS 0;

ALTER TABLE hypercube.projection_metadata
    ALTER tensor_name SET STATISTICS 0, ALTER method SET STATISTICS 0, ALTER points SET STATISTICS 0,
    ALTER components SET STATISTICS 0, ALTER converged SET STATISTICS 0, ALTER residual SET STATISTICS 0,
    ALTER eigenvalues SET STATISTICS 0, ALTER trustworthiness SET STATISTICS 0,
    ALTER neighbor_preservation SET STATISTICS 0, ALTER variance_explained SET STATISTICS 0,
    ALTER quality_score SET STATISTICS 0, ALTER parameters SET STATISTICS 0, ALTER seconds SET STATISTICS 0;

ALTER TABLE hypercube.index_recall
    ALTER mean SET STATISTICS 0, ALTER minimum SET STATISTICS 0, ALTER measured_at SET STATISTICS 0;

ALTER TABLE hypercube.upload
    ALTER id SET STATISTICS 0, ALTER name SET STATISTICS 0, ALTER path SET STATISTICS 0,
    ALTER owner SET STATISTICS 0, ALTER begun_at SET STATISTICS 0, ALTER touched_at SET STATISTICS 0,
    ALTER size SET STATISTICS 0, ALTER digest SET STATISTICS 0;

ALTER TABLE hypercube.atom
    ALTER codepoint SET STATISTICS 0, ALTER id SET STATISTICS 0, ALTER point SET STATISTICS 0,
    ALTER hilbert SET STATISTICS 0;

ALTER TABLE hypercube.expectation
    ALTER kind SET STATISTICS 0, ALTER ordinal SET STATISTICS 0, ALTER question SET STATISTICS 0,
    ALTER inputs SET STATISTICS 0, ALTER answers SET STATISTICS 0, ALTER scores SET STATISTICS 0,
    ALTER digest SET STATISTICS 0;

ALTER TABLE hypercube.composition
    ALTER id SET STATISTICS 0, ALTER label SET STATISTICS 0, ALTER centroid SET STATISTICS 0,
    ALTER hilbert SET STATISTICS 0, ALTER children SET STATISTICS 0;
ALTER INDEX hypercube.composition_parent_index ALTER COLUMN 1 SET STATISTICS 0;

ALTER TABLE hypercube.holder ALTER role SET STATISTICS 0;

ALTER TABLE hypercube.holding ALTER composition_id SET STATISTICS 1;

ALTER TABLE hypercube.kept_composition
    ALTER composition_id SET STATISTICS 0, ALTER owner SET STATISTICS 0, ALTER kept_at SET STATISTICS 0;

ALTER TABLE hypercube.document
    ALTER name SET STATISTICS 0, ALTER composition_id SET STATISTICS 0, ALTER digest SET STATISTICS 0,
    ALTER bytes SET STATISTICS 0, ALTER characters SET STATISTICS 0, ALTER sentences SET STATISTICS 0,
    ALTER language SET STATISTICS 1, ALTER metadata SET STATISTICS 0, ALTER owner SET STATISTICS 0,
    ALTER readers SET STATISTICS 0, ALTER created_at SET STATISTICS 0, ALTER words SET STATISTICS 0,
    ALTER pairs SET STATISTICS 0;

ALTER TABLE hypercube.sentence ALTER composition_id SET STATISTICS 1, ALTER start SET STATISTICS 0;

ALTER TABLE hypercube.sentence_search
    ALTER composition_id SET STATISTICS 1, ALTER language SET STATISTICS 1, ALTER words SET STATISTICS 0;

ALTER TABLE hypercube.sequence
    ALTER source SET STATISTICS 1, ALTER target SET STATISTICS 1, ALTER count SET STATISTICS 0;

ALTER TABLE hypercube.text_state
    ALTER minimum_count SET STATISTICS 0, ALTER vectors SET STATISTICS 0;

ALTER TABLE hypercube.role_limit
    ALTER role SET STATISTICS 0, ALTER what SET STATISTICS 0, ALTER value SET STATISTICS 0,
    ALTER set_by SET STATISTICS 0, ALTER set_at SET STATISTICS 0;

ALTER TABLE hypercube.backup_record
    ALTER label SET STATISTICS 0, ALTER kind SET STATISTICS 0, ALTER started_at SET STATISTICS 0,
    ALTER finished_at SET STATISTICS 0, ALTER bytes SET STATISTICS 0, ALTER recorded_by SET STATISTICS 0,
    ALTER recorded_at SET STATISTICS 0;
