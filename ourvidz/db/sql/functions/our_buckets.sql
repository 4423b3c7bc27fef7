-- The buckets of state/catalog.py (the tests hold them equal): public ones, or the others.
create or replace function ourvidz.our_buckets(p_public boolean) returns text[]
language sql immutable parallel safe
as $$
  select case when p_public then array['system-assets'] else array[
    'sdxl_image_fast', 'sdxl_image_high', 'sdxl_image_premium', 'sdxl_img2img', 'image_fast', 'image_high', 'video_fast', 'video_high',
    'image7b_fast_enhanced', 'image7b_high_enhanced', 'video7b_fast_enhanced', 'video7b_high_enhanced',
    'scene-previews', 'videos-final', 'character-images', 'video-thumbnails'] end
$$;
