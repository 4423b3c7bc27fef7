-- Checks whether a job may be linked to a row of its owner's library, or removed from it. Each link is set once; deleting the row frees it.
-- A whole job is deleted only after it has ended, and its library does not change after that. Kept inlinable.
create or replace function ourvidz.may_change_library(j public.jobs, p_type text, p_data jsonb) returns boolean
language sql stable parallel safe
as $$
  select not j.hidden and case p_type
    when 'linked' then num_nonnulls(p_data->>'image_id', p_data->>'video_id') > 0
                       and (p_data->>'image_id' is null or j.image_id is null) and (p_data->>'video_id' is null or j.video_id is null)
    else coalesce(p_data->>'what' = 'output' or p_data->>'what' = 'job' and j.completed_at is not null, false) end
$$;
