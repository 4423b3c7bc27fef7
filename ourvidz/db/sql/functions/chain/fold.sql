-- Replays events in version order: `select (ourvidz.fold(e order by e.version)).* from job_events e where job_id = …`.
create or replace function ourvidz.evolve_step(j public.jobs, e public.job_events) returns public.jobs
language sql stable parallel safe
as $$ select evolved from ourvidz.evolve(j, e) as evolved $$;

create or replace aggregate ourvidz.fold(public.job_events) (sfunc = ourvidz.evolve_step, stype = public.jobs);
