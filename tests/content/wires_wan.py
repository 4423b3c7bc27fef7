"""Mutations of Wan (broken_wires.py)."""

from __future__ import annotations

from broken_wires import Wire

WAN, PROMPT, SAMPLERS, SCHEDULERS = (
    "executors/models/wan.py",
    "executors/models/wan_prompt.py",
    "executors/models/samplers.py",
    "state/schedulers.py",
)
SHOWS = "test_wan_draws.py::test_videos_show_their_prompts"
STEPS = "test_wan_draws.py::test_twice_the_steps_give_a_similar_video"
GIVEN = "test_wan_draws.py::test_given_frames_appear_in_the_video"
PICTURES = "test_wan_draws.py::test_images_show_their_prompts"
SINGLE = "test_wan_draws.py::test_a_single_reference_sets_the_background"
SEED = "test_wan_draws.py::test_another_seed_gives_another_video_of_the_same_scene"
SHIFT = "test_wan_draws.py::test_a_higher_shift_matches_prompts_better_with_few_steps"
STRENGTH = "test_wan_draws.py::test_a_stronger_reference_keeps_more_of_it"
GUIDANCE = "test_wan_draws.py::test_without_guidance_fewer_videos_have_the_requested_colour"
NEGATIVE = "test_wan_draws.py::test_a_negative_prompt_removes_the_named_background"

WIRES = {
    "frames in the opposite order": Wire(WAN, "else Clip(frames, work.fps, seed)", "else Clip(frames[::-1], work.fps, seed)", GIVEN),
    "colour channels in the opposite order": Wire(WAN, "(video * 255)", "(video.flip(1) * 255)", SHOWS),
    "mean and deviation of the latents swapped": Wire(
        WAN, "return vae.config.latents_mean, vae.config.latents_std", "return vae.config.latents_std, vae.config.latents_mean", SHOWS
    ),
    "the latents' deviation divided by": Wire(WAN, "/ (1.0 / std) + mean", "/ std + mean", SHOWS),
    "prompt and negative prompt swapped": Wire(
        WAN,
        '"prompt_embeds": encode(work.prompt), "negative_prompt_embeds": encode(work.negative_prompt)',
        '"prompt_embeds": encode(work.negative_prompt), "negative_prompt_embeds": encode(work.prompt)',
        SHOWS,
    ),
    "negative prompt lost": Wire(WAN, "encode(work.negative_prompt) if", 'encode("") if', NEGATIVE),
    "guidance ignored": Wire(WAN, "guidance_scale=work.guidance", "guidance_scale=1.0", GUIDANCE),
    "seed ignored": Wire(WAN, 'torch.Generator("cpu").manual_seed(seed)', 'torch.Generator("cpu").manual_seed(0)', SEED),
    "steps ignored": Wire(WAN, "num_inference_steps=work.steps", "num_inference_steps=2", STEPS),
    "width and height swapped": Wire(
        WAN, "(short, long) if work.width <= work.height", "(short, long) if work.width > work.height", PICTURES
    ),
    "every text remembered as the first": Wire(
        PROMPT, "key = (text, pipe.text_encoder.dtype)", 'key = ("", pipe.text_encoder.dtype)', SHOWS
    ),
    "text cut short": Wire(PROMPT, "TOKENS = 512", "TOKENS = 3", SHOWS),
    "shift lost": Wire(SAMPLERS, "{option: shift if value is None", "{option: 5.0 if value is None", SHIFT),
    "the denoiser's answer taken for noise": Wire(
        SCHEDULERS, '"prediction_type": "flow_prediction"', '"prediction_type": "epsilon"', SHOWS
    ),
    "mask turned round": Wire(
        WAN,
        'Image.new("L", (width, height), 0), Image.new("L", (width, height), 255)',
        'Image.new("L", (width, height), 255), Image.new("L", (width, height), 0)',
        GIVEN,
    ),
    "first and last frame swapped": Wire(
        WAN,
        "((0, references.first_frame), (-1, references.last_frame))",
        "((-1, references.first_frame), (0, references.last_frame))",
        GIVEN,
    ),
    "first frame dropped": Wire(WAN, "(0, references.first_frame)", "(0, None)", GIVEN),
    "last frame dropped": Wire(WAN, "(-1, references.last_frame)", "(-1, None)", GIVEN),
    "last frame four places early": Wire(WAN, "(-1, references.last_frame)", "(-5, references.last_frame)", GIVEN),
    "single reference dropped": Wire(WAN, '{"reference_images": [whole]}', "{}", SINGLE),
    "the reference's own frame left in the film": Wire(
        WAN, 'latents[:, :, len(arguments.get("reference_images", ())) :]', "latents", SINGLE
    ),
    "a frame too many cut off": Wire(
        WAN, 'len(arguments.get("reference_images", ())) :]', '2 * len(arguments.get("reference_images", ())) :]', SINGLE
    ),
    "reference strength ignored": Wire(WAN, "= work.reference_strength", "= 1.0", STRENGTH),
    "references never reach VACE": Wire(WAN, 'mode = T2V if work.references.wan_mode == "none" else VACE', "mode = T2V", GIVEN),
}
