"""The steps of a job, each a function from `JobRun` to `JobRun`. Their order is written here, and nowhere else.

All steps run in the job's own thread. `guard.judge` and `enhance.prompt` call the enhancer process; where it does not answer, they defer
themselves and the device runs them, in the same order, before it generates. A step returns at once if an earlier attempt has done its work.
"""

from executors.steps import enhance, generate, guard, image_screen, references, screen, upload

STEPS = (
    screen.texts,
    screen.language,
    generate.prepare,
    guard.judge,
    references.read,
    image_screen.references,
    enhance.prompt,
    guard.judge,  # the enhanced prompt
    generate.outputs,  # each is screened and encoded while the next is generated
    image_screen.earlier_outputs,
    upload.outputs,
)
