"""Language models on this machine, through transformers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from generate.errors import StudyError, one_line


@dataclass
class TransformersModel:
    """A causal language model from a folder or the hub; answers are sampled, and repeat by seed.

    `device` is a torch device; `temperature` None is the model's own.
    """

    checkpoint: str
    device: str = "cpu"
    temperature: float | None = None
    max_new_tokens: int = 512

    @property
    def name(self) -> str:
        """Checkpoint and sampling settings, as answers are recorded under."""
        at = "" if self.temperature is None else f", temperature {self.temperature:g}"
        return f"{self.checkpoint} in transformers, at most {self.max_new_tokens} tokens{at}"

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        """Tokenizer and model."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(self.checkpoint)
            model: Any = AutoModelForCausalLM.from_pretrained(self.checkpoint, dtype="auto")
            model = model.eval().to(self.device)
        except (OSError, ValueError) as error:
            raise StudyError(
                f"'{self.checkpoint}' holds no causal language model for transformers "
                f"({one_line(error, 200)}); give a folder or a hub name that does."
            ) from None
        return tokenizer, model

    def answer(self, request: str, seed: int) -> str:
        """What the model says to a request, without special tokens.

        It is asked in its chat format where it has one. Raises `StudyError` if the checkpoint holds
        no language model.
        """
        import torch

        tokenizer, model = self._loaded
        if tokenizer.chat_template:
            chat = [{"role": "user", "content": request}]
            text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt")
        else:
            inputs = tokenizer(f"{request}\n\n", return_tensors="pt")
        settings = {}
        if self.temperature is not None:
            settings["temperature"] = self.temperature
        devices = [torch.device(self.device)] if self.device.startswith("cuda") else []
        with torch.random.fork_rng(devices), torch.inference_mode():
            torch.manual_seed(seed)
            ids = model.generate(
                **inputs.to(self.device),
                do_sample=True,
                max_new_tokens=self.max_new_tokens,
                pad_token_id=tokenizer.pad_token_id or tokenizer.eos_token_id,
                **settings,
            )
        new = ids[0, inputs["input_ids"].shape[1] :]
        answer: str = tokenizer.decode(new, skip_special_tokens=True)
        return answer
