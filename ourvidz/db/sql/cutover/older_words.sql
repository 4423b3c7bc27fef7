-- Words that the older system's checks do not know, in rows of the time between; a video that nothing was made of has its own word again.
update public.profiles set subscription_status = case subscription_status when 'free' then 'inactive' when 'premium' then 'creator' end
where subscription_status in ('free', 'premium');
update public.videos set status = coalesce(older_status, case status when 'previewing' then 'processing' else 'draft' end)
where status in ('previewing', 'preview_ready') or older_status is not null and status in ('draft', 'generating');
