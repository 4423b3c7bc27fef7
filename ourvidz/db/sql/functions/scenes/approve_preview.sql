-- Approves the preview of a scene: queues its final video, which begins with that picture and uses the same prompt. Approving twice is the
-- same as once. While the final is in progress or done, another choice is refused; a new preview starts the scene over.
-- `charge`: required from admins, the service key and operators to spend the user's tokens. `index`: which picture, where the preview made
-- several. `config`: as in a message, except for the pictures.
create or replace function public.approve_preview(
  video_id uuid, job_type text default 'video_high', config jsonb default '{}', idempotency_key text default null, index integer default 0,
  charge boolean default false
) returns jsonb
language sql security definer set search_path = pg_catalog, ourvidz, pg_temp
as $$
  select ourvidz.rpc('approve_preview', jsonb_build_object(
    'video_id', approve_preview.video_id, 'job_type', approve_preview.job_type, 'config', approve_preview.config,
    'idempotency_key', approve_preview.idempotency_key, 'index', approve_preview.index,
    'charge', approve_preview.charge))
$$;
