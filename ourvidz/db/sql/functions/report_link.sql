-- What names an output to whoever wants to report it, and the link where the page is known. Beside the row it names nothing else is needed:
-- the job's id is in the file's own metadata too (docs/decisions/0044).
create or replace function ourvidz.report_link(p_job uuid, p_index integer) returns text
language sql stable
as $$ select coalesce(report_url || '?o=', '') || p_job || '.' || p_index from ourvidz.policy $$;
