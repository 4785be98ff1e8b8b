"""What holds for every operator: the manners of a tensor library."""

from assay.spec.clause import Clause
from assay.spec.sources import torch

CLAUSES = (
    Clause(
        "contract.dtype",
        "the result has the inputs' dtype, and gradients have their input's",
        "torch",
        torch("tensor attributes"),
    ),
    Clause("contract.device", "the result is on the inputs' device", "torch", torch("tensor attributes")),
    Clause(
        "contract.plain",
        "the result is a plain tensor of its library: no list, no None, no subclass whose comparisons may lie",
        "torch",
        torch("torch.nn.functional"),
    ),
    Clause(
        "contract.shape",
        "the result has the shape that the formula gives, and gradients have their input's",
        "torch",
        torch("torch.nn.functional"),
    ),
    Clause(
        "contract.inputs-unchanged",
        "no input is written to, going forward or back",
        "torch",
        torch("torch.nn.functional"),
    ),
    Clause(
        "contract.no-alias",
        "the result lies in no input's memory, each element in its own, and writing to it changes no gradient",
        "torch",
        torch("torch.nn.functional"),
        note="padding by 0 may return its input; and where writing would change a gradient, an error is right, too.",
    ),
    Clause(
        "contract.layouts",
        "any strides and offset, and expanded and channels-last views, give what a contiguous copy gives",
        "torch",
        torch("torch.Tensor.is_contiguous, tensor views"),
    ),
    Clause(
        "contract.empty-batch",
        "a batch of no samples gives a result of no samples",
        "torch",
        torch("torch.nn.functional"),
    ),
    Clause("contract.batch-of-one", "a batch of one sample keeps its axis", "torch", torch("torch.nn.functional")),
    Clause(
        "contract.memoryless",
        "a result depends on the arguments' values alone: not on earlier calls, their number or order, on where the "
        "values lie, or on settings",
        "torch",
        torch("torch.nn.functional"),
    ),
    Clause(
        "contract.results-kept",
        "a result stays as it is when further calls are made",
        "torch",
        torch("torch.nn.functional"),
    ),
    Clause(
        "contract.fresh-memory",
        "every element of a result, and of a gradient, is written: what was in its memory before does not show",
        "torch",
        torch("torch.nn.functional"),
    ),
    Clause(
        "contract.samples-apart",
        "a sample gives in a batch what it gives alone",
        "torch",
        torch("torch.nn.functional"),
    ),
    Clause(
        "contract.recording",
        "the result is the formula's, whether gradients are recorded or not, and asks for none where they are not",
        "torch",
        torch("locally disabling gradient computation"),
    ),
    Clause(
        "contract.some-gradients",
        "an input's gradient is the formula's, whether or not the other inputs need theirs",
        "torch",
        torch("torch.Tensor.requires_grad, frozen parameters"),
    ),
    Clause(
        "contract.threads",
        "calls from several threads at once give what they give one after the other, and another thread than the first "
        "may call",
        "torch",
        torch("Autograd mechanics, Multithreaded Autograd; CPU threading"),
    ),
    Clause(
        "contract.surroundings",
        "settings, random numbers and other people's functions are left as they were, and nothing is printed",
        "torch",
        torch("torch.get_default_dtype, torch.get_rng_state, torch.backends"),
    ),
)
