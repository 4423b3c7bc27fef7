-- Whether a job may be linked to a row of its owner's library, or removed from that library. Each link is set once; a row that was deleted frees
-- it. A whole job is deleted when it has ended, and nothing happens to its library after that. Kept inlinable, as may_reroute is.
create or replace function ourvidz.may_change_library(j public.jobs, p_type text, p_data jsonb) returns boolean
language sql stable parallel safe
as $$
  select not j.hidden and case p_type
    when 'linked' then num_nonnulls(p_data->>'image_id', p_data->>'video_id') > 0
                       and (p_data->>'image_id' is null or j.image_id is null) and (p_data->>'video_id' is null or j.video_id is null)
    else coalesce(p_data->>'what' = 'output' or p_data->>'what' = 'job' and j.completed_at is not null, false) end
$$;
