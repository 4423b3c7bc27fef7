-- Returns the unfinished jobs, from which the messages that give them back are made, as the deployed queue-job would have pushed them.
select j.id::text, j.job_type as type, p.prompt, p.negative_prompt, p.settings, j.user_id::text, j.created_at, j.metadata, j.video_id::text, j.image_id::text, t.queue
from public.jobs as j join public.job_payloads as p on p.job_id = j.id join ourvidz.job_types as t on t.name = j.job_type
where j.status in ('queued', 'enhancing', 'generating', 'uploading') and not j.hidden
order by j.created_at, j.id
