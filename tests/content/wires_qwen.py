# ruff: noqa: E501  (one wire a line)
"""Mutations of the enhancer and the guard (broken_wires.py)."""

from __future__ import annotations

from broken_wires import Wire

ENHANCE, GUARD, JOB, STYLE = "executors/enhance.py", "executors/guard_model.py", "executors/steps/enhance.py", "executors/talk.py"
SCENE = "test_qwen_describes.py::test_the_description_matches_the_prompts_scene test_qwen_describes.py::test_descriptions_have_the_form_of_each_familys_instructions"
STRANGE = "test_qwen_describes.py::test_unknown_prompts_are_used_as_written"
LETTERS = "test_qwen_describes.py::test_each_letter_maps_to_its_verdict test_qwen_describes.py::test_a_negative_prompt_is_judged_by_its_own_question"
MADE, WRITTEN = (
    "test_qwen_describes.py::test_a_job_uses_the_description",
    "test_qwen_describes.py::test_a_job_without_a_description_uses_the_prompt_as_written",
)
SURE, NO_LETTER = (
    "test_qwen_describes.py::test_the_policy_sets_the_required_confidence",
    "test_qwen_describes.py::test_an_answer_that_is_not_a_letter_gives_no_verdict",
)

TEMPLATE = """self._tokenizer.apply_chat_template(
            self.turns(prompt, style), add_generation_prompt=True, return_tensors="pt", return_dict=True
        )"""
TURNS = """            {"role": "system", "content": style.system.strip()},
            {"role": "user", "content": CONTROL_TOKENS.sub(" ", prompt)},
"""
ASKED = """            {"role": "system", "content": self.rules.system.strip()},
            {"role": "user", "content": (self.rules.negative if negative else self.rules.question).format(text=plain)},
"""

WIRES = {
    # the enhancer
    "the chat template lost": Wire(ENHANCE, TEMPLATE, 'self._tokenizer(prompt, return_tensors="pt")', SCENE),
    "no turn for the answer": Wire(ENHANCE, TEMPLATE, TEMPLATE.replace("add_generation_prompt=True", "add_generation_prompt=False"), SCENE),
    "roles swapped": Wire(ENHANCE, TURNS, TURNS.replace('"system",', '"?",').replace('"user",', '"system",').replace('"?",', '"user",'), SCENE),
    "turns in the wrong order": Wire(ENHANCE, TURNS, "".join(reversed(TURNS.splitlines(keepends=True))), SCENE),
    "the system prompt lost": Wire(ENHANCE, TURNS, TURNS.replace("style.system.strip()", '""'), SCENE),
    "another family's system prompt": Wire(ENHANCE, "style = styles()[family]", 'style = styles()["wan" if family == "sdxl" else "sdxl"]', SCENE),
    "the prompt lost": Wire(ENHANCE, TURNS, TURNS.replace('CONTROL_TOKENS.sub(" ", prompt)', '""'), SCENE),
    "what was asked kept, the answer cut off": Wire(ENHANCE, ')[0, inputs["input_ids"].shape[1] :]', ')[0, : inputs["input_ids"].shape[1]]', SCENE),
    "the answer's first token lost": Wire(ENHANCE, ')[0, inputs["input_ids"].shape[1] :]', ')[0, inputs["input_ids"].shape[1] + 1 :]', SCENE),
    "the limit of tokens for characters": Wire(ENHANCE, "max_new_tokens=style.max_new_tokens", "max_new_tokens=style.min_chars // 4", SCENE),
    "whole answers cut to whole sentences": Wire(ENHANCE, "cut_short=tokens >= style.max_new_tokens", "cut_short=tokens < style.max_new_tokens", SCENE),
    "repetitions punished too hard": Wire(ENHANCE, "repetition_penalty=1.05", "repetition_penalty=10.5", SCENE),
    "answers are not judged": Wire(ENHANCE, "        check(text, style, prompt)\n", "", STRANGE),
    # jobs
    "videos enhanced as images": Wire(JOB, '"wan" if claim.kind.video else "wan_image"', '"wan_image" if claim.kind.video else "wan"', MADE),
    "the description recorded and not used": Wire(JOB, "replace(run, prompt=text.text, texts", "replace(run, texts", MADE),
    "the prompt lost where enhancing fails": Wire(JOB, "        return replace(run, prompt_final=True)\n    run.screen(text)", '        return replace(run, prompt="", prompt_final=True)\n    run.screen(text)', WRITTEN),
    # the guard
    "the guard's text lost": Wire(GUARD, ".format(text=plain)", '.format(text="")', LETTERS),
    "prompts judged as negative prompts": Wire(GUARD, "(self.rules.negative if negative else self.rules.question)", "(self.rules.question if negative else self.rules.negative)", LETTERS),
    "the guard's roles swapped": Wire(GUARD, ASKED, ASKED.replace('"system",', '"?",').replace('"user",', '"system",').replace('"?",', '"user",'), LETTERS),
    "the guard's system prompt lost": Wire(GUARD, ASKED, ASKED.replace("self.rules.system.strip()", '""'), LETTERS),
    "the letter refused for is the least likely": Wire(GUARD, "worst = max(", "worst = min(", LETTERS),
    "allowing letters and refusing ones swapped": Wire(GUARD, "if not self.rules.labels[letter]) / total", "if self.rules.labels[letter]) / total", LETTERS),
    "the threshold turned round": Wire(GUARD, "allowed >= self.rules.allow", "allowed <= self.rules.allow", LETTERS),
    "the threshold of one number for the other": Wire(GUARD, "allowed >= self.rules.allow", "allowed >= self.rules.understood", SURE),
    "not understood is allowed": Wire(GUARD, "if total < self.rules.understood:", "if total < 0:", NO_LETTER),
    "the guard reads the token before": Wire(ENHANCE, "logits_to_keep=1).logits[0, -1]", "logits_to_keep=2).logits[0, 0]", LETTERS),
    "the guard's answer has no turn": Wire(ENHANCE, "self._tokenizer.apply_chat_template(turns, add_generation_prompt=True,", "self._tokenizer.apply_chat_template(turns, add_generation_prompt=False,", LETTERS),
}  # fmt: skip
