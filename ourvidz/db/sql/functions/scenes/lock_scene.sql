-- Returns and locks the caller's scene; admins, the service and operators may use anybody's. Serialises concurrent approvals with a lock
-- that submits do not take: those lock the user's balance and then the row itself, so locking the row here could deadlock.
create or replace function ourvidz.lock_scene(p_video uuid) returns public.videos
language plpgsql
as $$
declare
  v_scene public.videos;
  v_caller record := ourvidz.caller();
begin
  if v_caller.role is not null and v_caller.role <> 'service_role' and v_caller.user_id is null then
    raise exception 'Nobody is signed in.' using errcode = 'OV017', hint = 'Send the user''s token.';
  end if;
  perform ourvidz.lock_names('scene', array[p_video::text]);
  select * into v_scene from public.videos
  where id = p_video and (user_id = v_caller.user_id or v_caller.admin or v_caller.role is null or v_caller.role = 'service_role');
  if not found then
    raise exception 'There is no scene %.', coalesce(p_video::text, '(none)') using errcode = 'OV018';
  end if;
  return v_scene;
end
$$;
