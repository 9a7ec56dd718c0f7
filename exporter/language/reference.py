"""What a decoder computes in FP32: transformers' own module, whose weights are there only while they are used.

The module stands without weights. Before a layer runs its tensors are read, and behind it they are let go; the
embedding, the last norm and the head likewise. What is resident is one layer, or the head.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from ...backends.decoding import Tokens
from .decoder import Decoder, linears_of
from .lent import Lent
from .store import Fitted
from .weights import Floats

if TYPE_CHECKING:
    from torch import Tensor, nn

# Positions whose logits are made at a time: 49,152 words take 50 MB.
CHUNK = 256
# Shapes of texts of which it is kept what layers are given: masks grow with the square of the positions.
SHAPES = 2


class TorchReference:
    """The FP32 model, run as a whole or layer by layer.

    By layers: `hidden = embedded(tokens)` (batch, positions, width), then `hidden = layer(index, hidden)` for each
    index XX
    """

    def __init__(self, module: nn.Module, decoder: Decoder, checkpoint: Fitted) -> None:
        """Wrap the module of `architecture.empty`; it belongs to this object from now on.

        Args:
            decoder: `architecture.describe` of it.
            checkpoint: `fit.fit` for it.
        """
        self.decoder, self.checkpoint = decoder, checkpoint
        self._module: Any = module
        self._lent = Lent(module, checkpoint)
        self._path = decoder.layers[0].attention.output.weight.name.partition(".0.")[0]
        self._layers = _listed(self._module, self._path)
        tables = [each.name.rpartition(".")[0] for each in (decoder.embedding, decoder.positions) if each is not None]
        self._outside = [path for path in self._owners() if not path.startswith(f"{self._path}.")]
        self._behind = [path for path in self._outside if path not in tables]
        self._lent.fill_when_run(self._outside)
        self._arguments: dict[tuple[int, int], list[tuple[tuple[Any, ...], dict[str, Any]]]] = {}
        self._as_tuple = self._gives_tuple()

    def logits(self, tokens: Tokens, *, chunk: int = CHUNK) -> Floats:
        """Logits after each token, of shape (batch, positions, vocabulary); `chunks` where that is too much at once."""
        parts = [part for _, part in self.chunks(tokens, chunk=chunk)]
        return np.concatenate(parts, axis=1)

    def chunks(self, tokens: Tokens, *, chunk: int = CHUNK) -> Iterator[tuple[int, Floats]]:
        """Logits after so many positions at a time, with the first position of each part.

        The layers see the whole text; only the head is computed in parts, and read once for all of them.
        """
        hidden = self.through(tokens)
        with self.held(None):
            for begin in range(0, tokens.shape[1], chunk):
                yield begin, self.logits_of(hidden[:, begin : begin + chunk])

    def through(self, tokens: Tokens) -> Floats:
        """What the last layer gives, of shape (batch, positions, width); the last norm is the head's matter."""
        hidden = self.embedded(tokens)
        for index in range(len(self._layers)):
            hidden = self.layer(index, hidden)
        return hidden

    def embedded(self, tokens: Tokens, *, table: Floats | None = None) -> Floats:
        """What the first layer takes, of shape (batch, positions, width).

        Args:
            tokens: of shape (batch, positions).
            table: another embedding, of shape (vocabulary, width).
        """
        import torch

        taken: list[Floats] = []

        def first(hidden: Tensor, *_: Any, **__: Any) -> Any:
            taken.append(hidden.numpy().copy())
            return self._given(hidden)

        with torch.no_grad(), self._passing(first), self._table(table):
            self._base()(input_ids=torch.from_numpy(np.ascontiguousarray(tokens)), use_cache=False)
        return taken[0]

    def layer(
        self,
        index: int,
        hidden: Floats,
        *,
        replaced: Mapping[str, Floats] | None = None,
        observe: Callable[[str, Floats], None] | None = None,
    ) -> Floats:
        """What a layer gives, of the shape of what it takes.

        Args:
            hidden: of shape (batch, positions, width), from position 0 on.
            replaced: by name of a `Linear` of the layer, another weight of shape (outputs, inputs).
            observe: told what linear layers take: their `reads`, and values of shape (batch, positions, inputs), which
                it must not change nor keep.
        """
        import torch

        layer = self._layers[index]
        arguments, named = self._arguments_of(hidden.shape[:2])[index]
        with torch.no_grad(), ExitStack() as stack:
            stack.enter_context(self.held(index))
            if replaced:
                stack.enter_context(self._lent.replaced(linears_of(self.decoder.layers[index]), replaced))
            if observe is not None:
                stack.enter_context(self._observed(index, observe))
            given = layer(torch.from_numpy(hidden), *arguments, **named)
        return np.asarray((given[0] if isinstance(given, tuple) else given).numpy())

    def logits_of(self, hidden: Floats, *, head: Floats | None = None) -> Floats:
        """Logits of what the last layer gives: norm, head, factors and caps.

        Args:
            hidden: of shape (batch, positions, width), of any positions.
            head: another weight of the head, of shape (vocabulary, width).

        Returns:
            Of shape (batch, positions, vocabulary).
        """
        import torch

        last = torch.from_numpy(np.ascontiguousarray(hidden))
        with torch.no_grad(), self._passing(lambda *_, **__: self._given(last)), self._head(head):
            return np.asarray(self._module(inputs_embeds=torch.zeros_like(last), use_cache=False).logits.numpy())

    @contextmanager
    def held(self, *layers: int | None) -> Iterator[None]:
        """Layers' weights stay inside; None is what comes behind the last layer. Without any, it is the whole model."""
        chosen: Iterable[int | None] = layers or range(len(self._layers))
        with ExitStack() as stack:
            if not layers:
                stack.enter_context(self._lent.filled(self._lent.under(*self._outside)))
            for each in chosen:
                stack.enter_context(self._lent.filled(self._names(each)))
            yield

    def greedy(
        self, prompt: Sequence[int], count: int, *, cached: bool = True, ends: Collection[int] = ()
    ) -> list[int]:
        """So many most likely tokens after a prompt. All weights are in memory meanwhile.

        Args:
            cached: with transformers' cache of keys and values, else the whole text anew for each token.
            ends: tokens behind which nothing more is written.
        """
        import torch

        tokens, past = list(prompt), None
        with torch.no_grad(), self.held():
            for _ in range(count):
                new = tokens if past is None else tokens[-1:]
                given = self._module(input_ids=torch.tensor([new]), past_key_values=past, use_cache=cached)
                past = given.past_key_values if cached else None
                tokens.append(int(given.logits[0, -1].argmax()))
                if tokens[-1] in ends:
                    break
        return tokens[len(prompt) :]

    def _owners(self) -> list[str]:
        """Paths of what has parameters of its own, in order."""
        return list(dict.fromkeys(name.rpartition(".")[0] for name in self._lent.names()))

    def _base(self) -> Any:
        return getattr(self._module, self._module.base_model_prefix)

    def _names(self, layer: int | None) -> list[str]:
        return self._lent.under(*(self._behind if layer is None else [f"{self._path}.{layer}"]))

    def _given(self, hidden: Tensor) -> Any:
        """A layer's result in the form in which this architecture's layers give it."""
        return (hidden,) if self._as_tuple else hidden

    def _arguments_of(self, shape: tuple[int, int]) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        """What each layer is given beside the values, positions and masks, for texts of this shape."""
        import torch

        if shape not in self._arguments:
            found: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

            def note(hidden: Tensor, *arguments: Any, **named: Any) -> Any:
                found.append((arguments, named))
                return self._given(hidden)

            nothing = torch.zeros(*shape, self.decoder.width)
            with torch.no_grad(), self._instead([note] * len(self._layers)):
                self._base()(inputs_embeds=nothing, use_cache=False)
            for first in [*self._arguments][: 1 - SHAPES]:
                del self._arguments[first]
            self._arguments[shape] = found
        return self._arguments[shape]

    def _table(self, table: Floats | None) -> AbstractContextManager[None]:
        name = self.decoder.embedding.name
        return nullcontext() if table is None else self._lent.filled([name], {name: table})

    def _head(self, head: Floats | None) -> AbstractContextManager[None]:
        """The head's own name, which in a tied model is not that of its tensor in the checkpoint."""
        if head is None:
            return nullcontext()
        layer = self._module.get_output_embeddings()
        name = next(f"{path}.weight" for path, each in self._module.named_modules() if each is layer)
        return self._lent.filled([name], {name: head})

    @contextmanager
    def _passing(self, first: Callable[..., Any]) -> Iterator[None]:
        """Layers give what they take, but for the first, which does as told."""

        def passes(hidden: Tensor, *_: Any, **__: Any) -> Any:
            return self._given(hidden)

        with self._instead([first, *[passes] * (len(self._layers) - 1)]):
            yield

    @contextmanager
    def _instead(self, forwards: Sequence[Callable[..., Any]]) -> Iterator[None]:
        """Layers compute something else inside."""
        for layer, forward in zip(self._layers, forwards, strict=True):
            layer.forward = forward
        try:
            yield
        finally:
            for layer in self._layers:
                del layer.forward

    def _gives_tuple(self) -> bool:
        """Whether layers give their values alone or in a tuple, by running the first on one position."""
        import torch

        first, found = self._layers[0], []

        def run(*arguments: Any, **named: Any) -> Any:
            found.append(isinstance(type(first).forward(first, *arguments, **named), tuple))
            raise _SeenError

        with torch.no_grad(), self.held(0), suppress(_SeenError), self._instead([run] * len(self._layers)):
            self._base()(inputs_embeds=torch.zeros(1, 1, self.decoder.width), use_cache=False)
        return found[0]

    @contextmanager
    def _observed(self, index: int, observe: Callable[[str, Floats], None]) -> Iterator[None]:
        # Of layers that take the same, one is asked.
        paths = {each.reads: each.weight.name.rpartition(".")[0] for each in linears_of(self.decoder.layers[index])}
        with ExitStack() as stack:
            for reads, path in paths.items():
                hook = self._module.get_submodule(path).register_forward_pre_hook(
                    lambda _, taken, reads=reads: observe(reads, taken[0].numpy())
                )
                stack.callback(hook.remove)
            yield


def _listed(module: Any, path: str) -> list[Any]:
    return list(module.get_submodule(path))


class _SeenError(Exception):
    """What was to be seen was seen; the rest need not be computed."""
