"""The executors' interface to the rest of the program, loaded through the entry point `ourvidz.executors`. Imports nothing heavy."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from executors.models import attention
from executors.models.profiles import BITS, EXACT, PROFILES, named

if TYPE_CHECKING:
    from executors.orchestrator.roster import Row
    from ourvidz.bootstrap import App
    from ourvidz.config import Config
    from ourvidz.contact_sheet import Cell
    from ourvidz.db.connection import Database
    from ourvidz.progress import Observer
    from ourvidz.safety.images import Watchful
    from ourvidz.safety.screen import PromptScreen

log = logging.getLogger("ourvidz.worker")


class NoGuard(Exception):
    """Real models run only behind a guard model that reads each prompt first."""


class Executors:
    def __init__(self) -> None:
        from executors.models import seen
        from ourvidz.config import config

        seen.use(config().home)

    def work(
        self,
        app: App,
        *,
        name: str | None = None,
        lanes: Sequence[str] | None = None,
        until: Collection[str] | None = None,
        patience: float = math.inf,
        idle_exit: float | None = None,
        profile: str | None = None,
        observer: Observer | None = None,
        signals: bool = True,
        own_process: bool = False,
        warm: Sequence[str] | None = (),
        say: Callable[[str], None] = lambda _: None,
    ) -> int:
        """Run an executor in this process. Returns 0 when it is drained, the jobs of `until` have ended, or it idled for `idle_exit`
        seconds; 1 when for `patience` seconds no executor served the lanes of the jobs left in `until`.

        `profile` is the name of a speed profile, by default that of `OURVIDZ_PROFILE`. Raises `UnknownProfile`.

        `warm`: lanes whose models are loaded before a job asks for them; None: those that the queue needs first.

        `own_process`: nothing else runs in this process, so it exits (code 75) when its device hangs; the supervisor starts another.
        """
        chosen = replace(named(profile or app.config.ourvidz_profile), attention=app.config.ourvidz_attention)
        from executors import credentials
        from executors.enhancer.client import remote
        from executors.models import files, tiny
        from executors.provenance import Seal
        from executors.shelf import prepare
        from executors.worker import Worker, handle_signals
        from ourvidz.safety import images

        screen = self.image_screen(app.config)
        credential = credentials.find(app.config.home, app.config.ourvidz_c2pa_cert, app.config.ourvidz_c2pa_key)
        seal = Seal(credential, required=app.config.ourvidz_c2pa == "required", tsa=app.config.ourvidz_c2pa_tsa)
        jobs = app.jobs  # before models are made or loaded, which takes minutes: the database may refuse this program
        new = app.config.tiny and tiny.make_tiny(app.config.models, say)
        shelf = prepare(
            app.config.models,
            tiny=app.config.tiny,
            on_progress=say,
            profile=chosen,
            at_once=app.config.ourvidz_batch,
            budget=app.config.ourvidz_vram_budget,
            ram=app.config.ourvidz_ram_budget,
        )
        if shelf.guarded and shelf.can_enhance:
            say("Hashing the guard's files, as at every start.")
            files.require_pinned(app.config.models, "qwen")
            files.require(app.config.models, "qwen", structure=True)  # a guard with a missing tensor would judge at random
        enhancer = remote(app.config.ourvidz_enhancer, app.config.home)
        if shelf.guarded and not shelf.can_enhance and (enhancer is None or not enhancer.there()):
            raise NoGuard(
                "These are real models, and there is no guard model to read what they are asked for: it is Qwen (role qwen), here or in an "
                "`ourvidz enhancer` of this machine. Run `ourvidz models pull qwen`, or unset OURVIDZ_MODELS to work with tiny models."
            )
        if shelf.tiny:
            import torch

            torch.set_num_threads(1)  # tiny tensors: threads cost more than they gain, much more on a busy machine
            if new or own_process:  # once, not for every job that a command waits for
                say(tiny.told(app.config.models))
        say(seal.credential.said)
        if screen is None:
            (log.warning if shelf.guarded else say)(images.without(app.config.ourvidz_image_screen, real=shelf.guarded))
        worker = Worker(
            jobs, app.store, shelf, app.config.home, name=name, lanes=lanes, observe=observer, own_process=own_process,
            warm=warm, enhancer=enhancer, seal=seal, image_screen=screen,
            no_image_screen=app.config.ourvidz_image_screen == images.NONE,
        )  # fmt: skip
        if signals:
            handle_signals(worker)
        worker.run(until=until, idle_exit=idle_exit, patience=patience)
        return int(worker.unserved)

    def serve_enhancer(self, config: Config, *, database: Database | None = None, say: Callable[[str], None] = lambda _: None) -> int:
        """Enhance prompts for this machine's executors until stopped. They screen what they send and what they receive. With a `database`,
        serves the prompt dialog too (`executors.dialog`).

        Raises `ModelFileError`, `EnhancerAlready`.
        """
        import torch

        from executors.dialog import beside
        from executors.enhance import Enhancer
        from executors.enhancer import wire
        from executors.enhancer.server import Server
        from executors.models.base import ModelPaths
        from ourvidz import liveness

        config.home.mkdir(parents=True, exist_ok=True)
        if config.tiny:
            self.make_tiny(config.models, say)
        model = Enhancer(ModelPaths(config.models))
        model.load()
        about = model.describe()
        if about["tiny"]:
            torch.set_num_threads(1)  # as in `work`
        socket = wire.address(config.home, config.ourvidz_enhancer)
        with beside(socket, database, guarded=not about["tiny"]) as start:

            def ready() -> None:
                say(f"{about['model']} on {about['device']} enhances prompts at {socket}.")
                start()

            Server(model, socket, pulse=liveness.beat).run(ready)
        return 0

    def image_screen(self, config: Config) -> Watchful | None:
        """Return the configured image screen, its model loaded. Raises `NoImageScreen`."""
        from ourvidz.safety import images

        def local() -> images.ImageScreen:
            from executors import image_screen

            return image_screen.made(config.ourvidz_image_screen_model)

        return images.find(config.ourvidz_image_screen, local)

    def guard(self, config: Config, *, say: Callable[[str], None] = lambda _: None) -> PromptScreen:
        """Load the guard: the prompt screen that judges meaning. Raises `NoGuard` when there are only tiny models, `ModelFileError`."""
        if config.tiny:
            raise NoGuard(
                "No guard model is installed: the tiny models cannot judge prompts. Run `ourvidz models pull qwen` and set OURVIDZ_MODELS."
            )
        from executors.enhance import Enhancer
        from executors.guard_model import Guard
        from executors.models.base import ModelPaths

        model = Enhancer(ModelPaths(config.models))
        model.load()
        about = model.describe()
        say(f"{about['model']} on {about['device']} reads the texts.")
        return Guard(model)

    def check_attention(self, config: Config) -> None:
        """Raise `NoAttention` if this machine does not support `OURVIDZ_ATTENTION`."""
        attention.check(config.ourvidz_attention, exact=config.ourvidz_profile == EXACT.name)

    def profiles(self) -> list[dict[str, str]]:
        """List the speed profiles: name, what it changes, and its effect on the pictures."""
        return [{"name": p.name, "changes": p.changes, "pictures": p.pictures} for p in PROFILES.values()]

    def roster(
        self,
        *,
        split: bool = False,
        intake: bool = False,
        legacy_queue: bool = False,
        deliver: bool = True,
        name: str | None = None,
        each: int = 1,
        enhancer: str | None = None,
    ) -> tuple[str, Sequence[Row]]:
        """Return how the devices were counted, and the processes that `ourvidz up` runs on this machine. `intake`: one that drains Upstash,
        with `legacy_queue` also the legacy list job_queue. `deliver`: one that sends messages.

        Raises `NoSuchDevice`.
        """
        from executors.orchestrator import roster

        devices = roster.devices()
        return devices.how, roster.rows(
            devices, roster.Wanted(split, intake, legacy_queue, deliver), name=name, each=each, enhancer=enhancer
        )

    def supervise(
        self,
        app: App,
        rows: Sequence[Row],
        *,
        name: str | None = None,
        idle_exit: float | None = None,
        reopen: bool = False,
        say: Callable[[str, str], None],
    ) -> int:
        """Run these processes until stopped, or idle for `idle_exit` seconds. Returns the exit code; raises `UpAlready`."""
        from executors.orchestrator import roster
        from executors.orchestrator.main import Orchestrator, alone

        with alone(app.config.home, name or roster.host()):
            orchestrator = Orchestrator(app.jobs, rows, app.config.home, say)
            if reopen:
                orchestrator.reopen()
            return orchestrator.run(idle_exit=idle_exit)

    def make_tiny(self, root: Path, on_progress: Callable[[str], None], *, random: bool | None = None) -> str:
        """Call `executors.models.tiny.make_tiny`; return a note on these models' limits for people who look at their outputs."""
        from executors.models import tiny

        tiny.make_tiny(root, on_progress, random=random)
        return tiny.told(root)

    def plan_models(self, config: Config, vram: int | None) -> dict[str, Any]:
        """Plan what fits on a card of `vram` bytes (None: the budget's). Raises `ValueError` for a card smaller than the reserve."""
        from executors.models.plan import plan

        profile = named(config.ourvidz_profile)
        pictures = 1 if profile.pictures == BITS else config.ourvidz_batch or profile.at_once
        return plan(config.models, vram, config.ourvidz_vram_budget, pictures)

    def pin_screen(self, folder: Path) -> dict[str, Any]:
        """Pin the files of an image screen's folder: file → `{"bytes", "sha256"}`. Raises `ModelFileError`."""
        from executors.models import files

        pins: dict[str, Any] = files.pin_folder(folder)["files"]
        return pins

    def pin_models(self, root: Path, roles: Sequence[str]) -> dict[str, Any]:
        """Pin the unpinned files in these roles' folders (none named: all roles): file → pin. Raises `ModelFileError`."""
        from executors.models import files

        return files.pin_new(root, roles)

    def accept_pins(self, folder: Path) -> None:
        """Accept this folder's manifest on this machine. Raises `OSError` when there is none."""
        from executors.models import seen

        seen.current().accept(folder)

    def check_models(self, root: Path, *, deep: bool = False, structure: bool = False) -> list[dict[str, Any]]:
        """Report the problems of each role's files. `structure`: check names and shapes of tensors too, which imports torch."""
        from executors.models import files

        return [s.as_dict(root) for s in files.verify(root, deep=deep, structure=structure)]

    def can_compare(self) -> bool:
        """Check if this machine has the packages that `structure` needs."""
        from executors.models import files

        return files.can_compare()

    def plan_pull(
        self,
        root: Path,
        *,
        roles: Sequence[str] = (),
        sdxl: str | None = None,
        sdxl_sha256: str = "",
        sources: Path | None = None,
        update: bool = False,
        locked: bool = False,
        deep: bool = False,
    ) -> Any:
        """Plan a fetch of real models; asks the hub and writes nothing. Raises what `executors.models.pull.plan` raises."""
        from executors.models import pull
        from executors.models import sources as listed

        which, given = listed.chosen(listed.read(sources), roles, sdxl, sdxl_sha256)
        return pull.plan(root, which, given, update=update, locked=locked, deep=deep)

    def tell_pull(self, plan: Any) -> dict[str, Any]:
        """Return a plan as plain values, without the URLs, which may be signed."""
        told = [
            {"role": f.role, "file": f.name, "from": f.shown, "bytes": f.bytes, "hash": f.hash, "state": f.state, "partial": f.partial}
            for f in plan.files
        ]
        return {"root": str(plan.root), "bytes": plan.to_fetch, "files": told}

    def carry_out_pull(self, plan: Any, on_progress: Callable[[str, str, int, int | None], None]) -> list[dict[str, Any]]:
        """Fetch, verify and pin; return the status of each role afterwards."""
        from executors.models import pull

        return [s.as_dict(plan.root) for s in pull.fetch(plan, on_progress)]

    def conversions(self, root: Path) -> list[dict[str, Any]]:
        """List the faster-loading conversions of the models at `root`, made or possible."""
        from executors.models import convert

        return [made.as_dict() for made in convert.state(root)]

    def convert_models(self, root: Path, say: Callable[[str], None], *, prune: bool = False) -> list[dict[str, Any]]:
        """Make the conversions; with `prune` remove those whose source is gone. Raises `ModelFileError`, `DiskFull`."""
        from executors.models import convert

        made = convert.convert(root, say)
        return [m.as_dict() for m in (*made, *(convert.prune(root) if prune else ()))]

    def reference_type(self, data: bytes) -> str:
        """Return the media type of a reference picture. Raises `BadReference` if no executor would accept it, and `ReferenceAway`."""
        from executors.reference_files import read

        return read(data)[0]

    def signer(self, config: Config) -> dict[str, Any]:
        """Describe the certificate that outputs are signed with here; creates none. Raises `BadCredential`."""
        from executors import credentials, provenance

        own = config.ourvidz_c2pa_cert is not None or config.ourvidz_c2pa_key is not None
        if not own and not credentials.place(config.home).exists():
            return {"development": True, "said": "A development certificate, which nobody trusts, is made when first needed."}
        credential = credentials.find(config.home, config.ourvidz_c2pa_cert, config.ourvidz_c2pa_key)
        provenance.Seal(credential)  # tries it
        return {"development": credential.development, "said": credential.said}

    def read_provenance(self, path: Path, trust: Path | None = None) -> dict[str, Any]:
        """Read a file's provenance and validate it (`executors.provenance.read`); without a manifest, read its plain tags. Raises
        `OSError`, and `BadCredential` for a `trust` that holds no certificates."""
        from executors import credentials, provenance

        said = provenance.read(path, credentials.anchors(trust))
        return said if said["state"] != "none" else said | {"tags": provenance.tags(path, said["media_type"])}

    def draw_references(self) -> dict[str, bytes]:
        """Draw the demo's reference pictures (shapes that the tiny models know): name → PNG."""
        from executors import demo_references

        return demo_references.references()

    def contact_sheet(self, cells: Sequence[Cell], path: Path) -> None:
        """Write one picture of all these jobs to `path`, each with its prompt."""
        from executors import contact_sheet

        contact_sheet.drawn(cells).save(path)
