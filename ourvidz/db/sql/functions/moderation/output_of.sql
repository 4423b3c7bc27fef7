-- Finds the output that a link or an id means: JOB, JOB.INDEX, or the id of a row of public.images or public.videos, anywhere in the text.
-- Null if it is none of ours. `ourvidz.report_link` makes links of this form.
create or replace function ourvidz.output_of(p_named text) returns ourvidz.takedowns
language plpgsql stable
as $$
declare
  v_parts constant text[] := regexp_match(lower(p_named), '([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})(?:[.]([0-9]{1,3}))?(?![0-9a-f-])');
  v_id constant uuid := v_parts[1];
  v_index constant integer := coalesce(v_parts[2]::integer, 0);
  v_found ourvidz.takedowns;
begin
  if v_id is null then
    return null;
  end if;
  select o.* into v_found from public.artifacts as a cross join lateral ourvidz.output_subject(a) as o
  where a.job_id = v_id and a.kind in ('image', 'video') and a.index = v_index;
  if v_found.subject is null then
    select o.* into v_found
    from (select job_id, 'image' as kind, coalesce(image_index, 0) as index from public.images where id = v_id
          union all select video_job_id, 'video', 0 from public.videos where id = v_id) as shown
    join public.artifacts as a on a.job_id = any (array[shown.job_id]) and a.kind = any (array[shown.kind]) and a.index = any (array[shown.index])
    cross join lateral ourvidz.output_subject(a) as o;
  end if;
  if v_found.subject is null then  -- of the legacy system, which has no artifacts
    select older.user_id, older.kind, 0, v_id into v_found.user_id, v_found.kind, v_found.index, v_found.row_id
    from (select user_id, 'image' as kind from public.images where id = v_id
          union all select user_id, 'video' from public.videos where id = v_id) as older;
    v_found.subject := v_found.kind || ':' || v_id;
  end if;
  return v_found;
end
$$;

create or replace function ourvidz.output_subject(a public.artifacts) returns ourvidz.takedowns
language sql stable
as $$
  select row(format('output:%s:%s:%s', a.job_id, a.kind, a.index), j.user_id, a.job_id, a.kind, a.index, null, 'reported', false, null,
             ourvidz.now())::ourvidz.takedowns
  from public.jobs as j where j.id = a.job_id
$$;

-- Returns the takedown row of an output, locked; creates it if there is none.
create or replace function ourvidz.takedown_of(p_output ourvidz.takedowns) returns ourvidz.takedowns
language plpgsql
as $$
declare
  v_row ourvidz.takedowns;
begin
  if p_output.subject is not null then
    insert into ourvidz.takedowns (subject, user_id, job_id, kind, index, row_id, since)
    values (p_output.subject, p_output.user_id, p_output.job_id, p_output.kind, p_output.index, p_output.row_id, ourvidz.now())
    on conflict (subject) do nothing;
    select * into v_row from ourvidz.takedowns where subject = p_output.subject for update;
  end if;
  return v_row;
end
$$;
