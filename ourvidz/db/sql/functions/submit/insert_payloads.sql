-- Stores the request in the job's payload, with the salt of the event's digest. Draws a seed if none was asked for.
create or replace function ourvidz.insert_payloads(p_fresh ourvidz.asked_job[], p_salts bytea[]) returns void
language plpgsql
as $$
begin
  insert into public.job_payloads (job_id, user_id, prompt, negative_prompt, settings, metadata, salt, body_digest, idempotency_key,
                                   set_aside, source)
  select a.id, a.user_id, a.prompt, a.negative_prompt,
         case when a.settings ? 'seed' then a.settings
              else a.settings || jsonb_build_object('seed', floor(random() * 4294967296)::bigint) end,
         a.metadata, p_salts[a.n], a.body_digest, a.idempotency_key,
         a.set_aside, a.source
  from (select f.*, row_number() over () as n from unnest(p_fresh) as f) as a;
end
$$;

create or replace function ourvidz.salt() returns bytea
language sql volatile
as $$ select sha256(convert_to(gen_random_uuid()::text, 'UTF8')) $$;
