-- Refuses new jobs for their reference pictures, as far as the database knows them: by an output's own bytes, and where every executor that
-- could make the job refuses uploaded pictures. Only new jobs: a repeated request returns the existing job.
create or replace function ourvidz.check_pictures(p_fresh ourvidz.asked_job[]) returns void
language plpgsql stable
as $$
declare
  a ourvidz.asked_job;
  v_address text;
  v_sha256 text;
begin
  for a in select * from unnest(p_fresh) as f where coalesce(f.settings->'references', '{}') <> '{}' loop
    for v_address in select value from jsonb_each_text(a.settings->'references') loop
      select made.sha256 into v_sha256
      from public.artifacts as made join public.jobs as j on j.id = made.job_id and j.user_id = a.user_id
      where made.bucket = split_part(v_address, '/', 1) and made.path = substr(v_address, strpos(v_address, '/') + 1);
      if found then
        perform ourvidz.refuse_unconsented(a.user_id, v_sha256);
      elsif ourvidz.all_refuse_pictures(a.lane) then
        raise exception 'No executor takes reference pictures that users bring: none has an image screen to look at them first.'
          using errcode = 'OV023', column = 'references', hint = 'Nothing was queued. Leave the picture out, or use one that was made here. '
            'An operator sets OURVIDZ_IMAGE_SCREEN on the executors (docs/safety.md).';
      end if;
    end loop;
  end loop;
end
$$;

-- Returns whether every live executor of this lane refuses uploaded pictures. False if none is live: the next one may have an image screen.
create or replace function ourvidz.all_refuse_pictures(p_lane text) returns boolean
language sql stable
as $$
  select coalesce(bool_and(reference_pictures is not distinct from 'refused'), false) from ourvidz.executors
  where state = 'active' and lease_until > ourvidz.now() and p_lane = any (lanes)
$$;
