-- Replaces words that the legacy system's checks reject in rows written since the switch; a video without outputs gets its old one back.
update public.profiles set subscription_status = case subscription_status when 'free' then 'inactive' when 'premium' then 'creator' end
where subscription_status in ('free', 'premium');
update public.videos set status = coalesce(older_status, case status when 'previewing' then 'processing' else 'draft' end)
where status in ('previewing', 'preview_ready') or older_status is not null and status in ('draft', 'generating');
