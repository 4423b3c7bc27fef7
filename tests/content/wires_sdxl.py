# ruff: noqa: E501  (one wire a line)
"""Mutations of SDXL (broken_wires.py)."""

from __future__ import annotations

from broken_wires import Wire

SDXL, PROMPT, IP = "executors/models/sdxl.py", "executors/models/sdxl_prompt.py", "executors/models/sdxl_ip.py"
PROMPTS = "test_sdxl_draws.py::test_images_show_their_prompts"
NEGATIVE = (
    "test_sdxl_draws.py::test_a_negative_prompt_removes_the_named_colour test_sdxl_draws.py::test_a_negative_prompt_removes_the_named_shape"
)
GUIDANCE = "test_sdxl_draws.py::test_guidance_increases_prompt_adherence"
PLACES = "test_sdxl_draws.py::test_places_in_prompts_are_respected"
WEIGHTS = "test_sdxl_draws.py::test_the_colour_with_the_higher_weight_is_drawn"
LONG = "test_sdxl_draws.py::test_text_beyond_the_77th_token_counts"
STAYS = "test_sdxl_draws.py::test_an_initial_image_matching_the_prompt_is_kept"
EVEN = "test_sdxl_draws.py::test_backgrounds_are_free_of_grain"
SIZES = "test_sdxl_draws.py::test_premium_images_are_right_in_every_size"
BATCH, SEEDS = (
    "test_sdxl_draws.py::test_each_image_of_a_batch_comes_from_its_own_seed",
    "test_sdxl_draws.py::test_each_seed_gives_a_different_image",
)
SHARED = "test_sdxl_draws.py::test_jobs_in_a_shared_pass_each_get_their_prompt"
FIRST = "test_sdxl_draws.py::test_lower_strength_keeps_more_of_the_initial_image"
CHARACTER = "test_sdxl_draws.py::test_a_character_reference_gives_the_colour"

MADE = "return Embeddings(embeds, negative_embeds, pooled, negative_pooled)"
SMALL = "self._pipe.text_encoder.config.hidden_size"
LONG_MADE = "return Embeddings(made.embeds, made.negative_embeds, made.pooled_embeds, made.negative_pooled_embeds)"
PIXELS = ".round().byte().permute(1, 2, 0).cpu().numpy()"


def words(first: str) -> str:
    """Replace the prompt's embeddings by `first`; `a` and `b` are those of the two encoders."""
    return f"a, b = embeds[..., :{SMALL}], embeds[..., {SMALL}:]\n        " + MADE.replace("(embeds,", f"(torch.cat({first}, -1),")


WIRES = {
    # texts
    "prompt and negative prompt swapped": Wire(PROMPT, MADE, MADE.replace("embeds, negative_embeds, pooled, negative_pooled", "negative_embeds, embeds, negative_pooled, pooled"), PROMPTS),
    "the pooled vector lost": Wire(PROMPT, MADE, MADE.replace(" pooled,", " 0 * pooled,"), PROMPTS),
    "pooled vectors of prompt and negative swapped": Wire(PROMPT, MADE, MADE.replace("pooled, negative_pooled", "negative_pooled, pooled"), PROMPTS),
    "the first encoder lost": Wire(PROMPT, MADE, words("[0 * a, b]"), PROMPTS),
    "the second encoder lost": Wire(PROMPT, MADE, words("[a, 0 * b]"), PROMPTS),
    "encoders in the wrong order": Wire(PROMPT, MADE, words("[b, a]"), PROMPTS),
    "the negative prompt lost": Wire(PROMPT, "negative_prompt=negative,", 'negative_prompt="",', NEGATIVE),
    "negative prompts forgotten by the cache's key": Wire(PROMPT, "key = (prompt, negative, dtype)", 'key = (prompt, "", dtype)', NEGATIVE),
    "weights read and not used": Wire(PROMPT, "[part for part in parse_weights(text)", "[(part[0], 1.0) for part in parse_weights(text)", WEIGHTS),
    "weights turned round": Wire(PROMPT, "[part for part in parse_weights(text)", "[(part[0], 2.0 - part[1]) for part in parse_weights(text)", WEIGHTS),
    "the second window lost": Wire(PROMPT, LONG_MADE, LONG_MADE.replace("made.embeds, made.negative_embeds", "made.embeds[:, :77], made.negative_embeds[:, :77]"), LONG),
    "the first window twice": Wire(PROMPT, LONG_MADE, LONG_MADE.replace("made.embeds,", "made.embeds[:, :77].repeat(1, made.embeds.shape[1] // 77, 1),"), LONG),
    # denoising
    "guidance ignored": Wire(SDXL, "guidance_scale=work.guidance,", "guidance_scale=1.0,", f"{GUIDANCE} {NEGATIVE}"),
    "sampled as velocity": Wire("executors/models/prediction.py", "return Prediction(kind, zero)", "return Prediction(VELOCITY, zero)", PROMPTS),
    "linear betas": Wire("executors/models/samplers.py", "return kind.from_config(schedule, **more)", 'return kind.from_config({**schedule, "beta_schedule": "linear"}, **more)', STAYS),
    "a third of the steps": Wire(SDXL, "num_inference_steps=work.steps,", "num_inference_steps=max(1, work.steps // 3),", f"{EVEN} {PROMPTS}"),
    "one seed for all pictures": Wire(SDXL, '.manual_seed(seed) for seed in seeds]', '.manual_seed(1) for seed in seeds]', SEEDS),
    "a batch's seeds shifted": Wire(SDXL, '.manual_seed(seed) for seed in seeds]', '.manual_seed(seed) for seed in (*seeds[1:], seeds[0])]', BATCH),
    "width and height swapped": Wire(SDXL, '{"width": width, "height": height}', '{"width": height, "height": width}', SIZES),
    "a shared pass's words in another order": Wire("executors/models/sdxl_together.py", "torch.cat([words[n][name] for n, _ in rows])", "torch.cat([words[n][name] for n, _ in rows[::-1]])", SHARED),
    # decoding
    "no scaling factor at the decoder": Wire(SDXL, "vae.decode(latent / vae.config.scaling_factor)", "vae.decode(latent)", PROMPTS),
    "BGR for RGB": Wire(SDXL, PIXELS, PIXELS.replace(".permute", ".flip(0).permute"), PROMPTS),
    "pictures upside down": Wire(SDXL, PIXELS, PIXELS.replace(".permute", ".flip(1).permute"), PLACES),
    "pictures mirrored": Wire(SDXL, PIXELS, PIXELS.replace(".permute", ".flip(2).permute"), PLACES),
    "brightness not moved to 0…1": Wire(SDXL, "(pixels / 2 + 0.5)", "(pixels / 2)", PROMPTS),
    # initial images
    "a first picture's scaling factor lost": Wire(SDXL, '"image": self._pipe.vae.config.scaling_factor * drawn', '"image": drawn', FIRST),
    "a first picture in BGR": Wire(SDXL, "preprocess(fitted).to(", "preprocess(fitted).flip(1).to(", FIRST),
    "a first picture mirrored": Wire(SDXL, 'ImageOps.fit(picture.convert("RGB")', 'ImageOps.fit(ImageOps.mirror(picture.convert("RGB"))', FIRST),
    "a first picture without its colours": Wire(SDXL, 'ImageOps.fit(picture.convert("RGB")', 'ImageOps.fit(picture.convert("L").convert("RGB")', FIRST),
    "strength turned round": Wire(SDXL, '"strength": work.strength}', '"strength": round(1.1 - work.strength, 2)}', FIRST),
    "strength ignored": Wire(SDXL, '"strength": work.strength}', '"strength": 0.8}', FIRST),
    # references
    "character at one block": Wire(IP, "Use(*_FACE, lambda strength: strength)", 'Use(*_FACE, lambda strength: {"up": {"block_0": [0.0, strength, 0.0]}})', CHARACTER),
    "a reference's scale lost": Wire(IP, "pipe.set_ip_adapter_scale(use.scale(strength))", "pipe.set_ip_adapter_scale(use.scale(0.0))", CHARACTER),
    "a reference's strength ignored": Wire(IP, "pipe.set_ip_adapter_scale(use.scale(strength))", "pipe.set_ip_adapter_scale(use.scale(0.8))", CHARACTER),
    "a reference's embeddings lost": Wire(IP, "return [e.to(dtype) for e in embeddings]", "return [0 * e.to(dtype) for e in embeddings]", CHARACTER),
    "a reference's two halves swapped": Wire(IP, "return [e.to(dtype) for e in embeddings]", "return [torch.cat(e.to(dtype).chunk(2)[::-1]) for e in embeddings]", CHARACTER),
    "an adapter left on after its job": Wire(SDXL, "            self._ip.detach()\n", "", f"{CHARACTER} {PROMPTS}"),
    "a reference lost": Wire(SDXL, "if work.references.style is not None and work.reference_type is not None:", "if work.references.style is None and work.reference_type is not None:", CHARACTER),
}  # fmt: skip
