-- Updates the rows that show an output to its takedown's state. Skips rows that somebody else has locked, like sync_images: whoever changes
-- them calls this afterwards.
create or replace function ourvidz.sync_takedown_rows(p_row ourvidz.takedowns) returns void
language plpgsql
as $$
declare
  v_down constant boolean := (select state in ('hidden', 'blocked') from ourvidz.takedowns where subject = p_row.subject);
begin
  update public.artifacts set taken_down = v_down
  where job_id = p_row.job_id and kind in (p_row.kind, 'thumbnail') and index = p_row.index and taken_down <> v_down;
  if p_row.job_id is not null then
    perform ourvidz.images_taken(array[p_row.job_id]);
  else
    perform ourvidz.row_taken(p_row.row_id);
  end if;
  if p_row.kind = 'video' then
    update public.videos set taken_down = v_down, updated_at = ourvidz.now()
    where id = any (array(select p_row.row_id union all select video_id from public.jobs where id = p_row.job_id))
      and (video_job_id = p_row.job_id or id = p_row.row_id) and taken_down <> v_down;
  end if;
end
$$;

-- Updates the pictures of these jobs. Rows that are made later are updated by sync_images.
create or replace function ourvidz.images_taken(p_jobs uuid[]) returns void
language plpgsql
as $$
begin
  if exists (select from ourvidz.takedowns where job_id = any (p_jobs)) then
    perform ourvidz.row_taken(i.id) from public.images as i where i.job_id = any (p_jobs);
  end if;
end
$$;

create or replace function ourvidz.row_taken(p_row uuid) returns void
language sql
as $$
  update public.images as i
  set taken_down = told.down, moderation_status = told.word, reviewed_at = case when told.word = 'flagged' then i.reviewed_at else ourvidz.now() end,
      updated_at = ourvidz.now()
  from (
    select r.id, t.state in ('hidden', 'blocked') as down,
           case t.state when 'reported' then 'flagged' when 'restored' then 'approved' else 'rejected' end as word
    from public.images as r
    join ourvidz.takedowns as t on t.kind = 'image' and (t.row_id = r.id or t.job_id = r.job_id and t.index = coalesce(r.image_index, 0))
    where r.id = p_row for update of r skip locked
  ) as told
  where i.id = any (array[told.id]) and (i.taken_down, i.moderation_status) is distinct from (told.down, told.word)
$$;
