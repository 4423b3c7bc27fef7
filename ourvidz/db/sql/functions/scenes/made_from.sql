-- Returns the seconds from the start of the generation that produced output until its last output. These functions give facts of a finished
-- job as the legacy system's callback wrote them, for its owner's library: sync_images, sync_videos and jobs_metadata read them.
create or replace function ourvidz.generation_seconds(p_job uuid, p_before integer) returns numeric
language sql stable
as $$
  select round(extract(epoch from last.made_at - max(x.occurred_at)), 3)
  from (select max(g.occurred_at) as made_at from public.job_events as g
        where g.job_id = p_job and g.version < p_before and g.type = 'artifact_generated') as last
  join public.job_events as x on x.job_id = p_job and x.type = 'generation_started' and x.occurred_at <= last.made_at
  group by last.made_at
$$;

create or replace function ourvidz.library_title(p_metadata jsonb, p_prompt text, p_untitled text) returns text
language sql immutable parallel safe
as $$
  select case when length(said) > 60 then left(said, 60) || '...' else said end
  from (select coalesce(nullif(trim(p_metadata->>'prompt'), ''), nullif(trim(p_metadata->>'original_prompt'), ''), nullif(p_prompt, ''),
                        p_untitled) as said) as it
$$;

-- Checks whether the job ended in this system. A job that ended in the legacy system is shown as that system left it.
create or replace function ourvidz.ended_in_this_system(p_job uuid) returns boolean
language sql stable
as $$
  select exists (select from public.job_events where job_id = p_job and type in ('completed', 'failed', 'cancelled'))
$$;
