-- Updates the results of the admin page's prompt tests, which name their job.
create or replace function ourvidz.tests_follow(p_jobs uuid[]) returns void
language plpgsql
as $$
declare
  v_tests constant uuid[] := array(select id from public.jobs where id = any (p_jobs) and metadata ? 'prompt_test_id');
begin
  if v_tests = '{}' then
    return;
  end if;
  update public.model_test_results as t
  set success = j.status = 'completed', image_id = coalesce(j.image_id, shown.id), video_id = j.video_id,
      test_metadata = coalesce(t.test_metadata, '{}') || jsonb_strip_nulls(jsonb_build_object(
        'status', j.status, 'error_message', j.error_message, 'seed', j.metadata->'seed', 'primary_asset', j.metadata->'primary_asset',
        'generation_time', j.metadata->'generation_time'))
  from public.jobs as j
  left join lateral (select id from public.images where job_id = j.id order by coalesce(image_index, 0), created_at limit 1) as shown on true
  where j.id = any (v_tests) and t.job_id = j.id and j.completed_at is not null;
end
$$;
