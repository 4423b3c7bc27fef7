-- Security, text: tables and columns.

-- Which text a screen refused. A superset of the old values, so existing rows need no check.
alter table ourvidz.screenings drop constraint screenings_stage_check;
alter table ourvidz.screenings add constraint screenings_stage_check
  check (stage in ('door', 'prompt', 'enhanced', 'negative', 'title', 'character', 'metadata', 'reference', 'output')) not valid;
