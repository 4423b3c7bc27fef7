-- Security, text: tables and columns.

-- Which text a screen refused. A superset of the values before, so no row need be looked at.
alter table ourvidz.screenings drop constraint screenings_stage_check;
alter table ourvidz.screenings add constraint screenings_stage_check
  check (stage in ('door', 'prompt', 'enhanced', 'negative', 'title', 'character', 'metadata', 'reference', 'output')) not valid;
