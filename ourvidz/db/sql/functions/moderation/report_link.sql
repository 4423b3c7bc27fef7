-- Returns the name by which anyone can report an output, as a link if the page is known. It reveals nothing new: the job's id is in the
-- file's own metadata too (docs/decisions/0044).
create or replace function ourvidz.report_link(p_job uuid, p_index integer) returns text
language sql stable
as $$ select coalesce(report_url || '?o=', '') || p_job || '.' || p_index from ourvidz.policy $$;
