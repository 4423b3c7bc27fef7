-- Lists our relations in schema public: Supabase's projects, and extensions, have others there.
create or replace function ourvidz.our_relations() returns text[]
language sql immutable parallel safe
as $$
  select '{profiles,user_roles,characters,projects,scenes,videos,images,jobs,job_payloads,job_events,artifacts,usage_logs,consents,
           model_test_results,system_config,user_activity_log,job_timeline,queue_depth,job_durations}'::text[]
$$;

-- Lists our functions in schema public: those that PostgREST offers as rpc.
create or replace function ourvidz.our_functions() returns text[]
language sql immutable parallel safe
as $$ select '{queue_job,job_types,cancel_job,retry_job,approve_preview,job_status,attest_consent,withdraw_consent,ask_enhancement,enhancement,age_status,request_age_review,verify_age,age_message,report_refusal,read_prompt,before_request,request_bytes,has_role,file_report,my_restrictions,appeal,report_queue,moderate}'::text[] $$;
