"""Planted bugs of the convolutional layer, in the order of its clauses."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from assay.tests.mutants.mutant import Mutant

conv2d = F.conv2d


def pair(size):
    return (size, size) if isinstance(size, int) else tuple(size)


def flipped_columns(input, weight, *rest):
    return conv2d(input, weight.flip(-1), *rest)


def transposed_square_kernel(input, weight, *rest):
    return conv2d(input, weight.mT if weight.shape[2] == weight.shape[3] else weight, *rest)


def ten_bit_operands(input, weight, *rest):
    short = (weight.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF
    return conv2d(input, short.view(torch.float32), *rest)


def without_the_fifth_tap(input, weight, *rest):
    kept = weight.clone()
    kept[:, :, 4:] = 0.0
    return conv2d(input, kept, *rest)


def one_tap_too_many(input, weight, bias=None, stride=1, padding=0):
    if weight.shape[3] != 2:
        return conv2d(input, weight, bias, stride, padding)
    above, before = pair(padding)
    wider = F.pad(input, (before, before + 1, above, above))
    return conv2d(wider, torch.cat([weight, weight[..., :1]], dim=3), bias, stride)


def three_by_three_without_its_corner(input, weight, *rest):
    kept = weight.clone()
    if weight.shape[2:] == (3, 3):
        kept[:, :, 2, 2] = 0.0
    return conv2d(input, kept, *rest)


def places_from_the_end(input, weight, bias=None, stride=1, padding=0):
    every, (down, right) = conv2d(input, weight, bias, 1, padding), pair(stride)
    rows, columns = (every.shape[2] - 1) % down, (every.shape[3] - 1) % right
    return every[:, :, rows::down, columns::right].contiguous()


def row_stride_for_columns(input, weight, bias=None, stride=1, padding=0):
    return conv2d(input, weight, bias, pair(stride)[0], padding)


def starts_one_step_late(input, weight, bias=None, stride=1, padding=0):
    result = conv2d(input, weight, bias, stride, padding)
    return result.roll(-1, dims=3) if pair(stride) == (1, 1) else result


def padding_after_alone(input, weight, bias=None, stride=1, padding=0):
    above, before = pair(padding)
    return conv2d(F.pad(input, (0, 2 * before, 0, 2 * above)), weight, bias, stride)


def padding_swapped(input, weight, bias=None, stride=1, padding=0):
    return conv2d(input, weight, bias, stride, pair(padding)[::-1])


def padding_repeats_the_border(input, weight, bias=None, stride=1, padding=0):
    above, before = pair(padding)
    if 0 in input.shape:
        return conv2d(input, weight, bias, stride, padding)
    return conv2d(F.pad(input, (before, before, above, above), mode="replicate"), weight, bias, stride)


def no_bias_on_padding_alone(input, weight, bias=None, stride=1, padding=0):
    held = conv2d(torch.ones_like(input), torch.ones_like(weight), None, stride, padding) != 0
    return conv2d(input, weight, bias, stride, padding) * held


def ceiling_of_the_size(input, weight, bias=None, stride=1, padding=0):
    (down, right), (above, before) = pair(stride), pair(padding)
    height, width = input.shape[2] + 2 * above, input.shape[3] + 2 * before
    more = -(height - weight.shape[2]) % down, -(width - weight.shape[3]) % right
    return conv2d(F.pad(input, (before, before + more[1], above, above + more[0])), weight, bias, stride)


def reads_all_it_is_given(input, weight, *rest):
    return conv2d(input, weight, *rest) + 0.0 * input.sum()


def height_for_width(in_channels, out_channels, kernel_size, bias=True):
    height = pair(kernel_size)[0]
    return list(torch.nn.Conv2d(in_channels, out_channels, height, bias=bias).parameters())


def bias_by_request_alone(in_channels, out_channels, kernel_size, bias=False):
    return list(torch.nn.Conv2d(in_channels, out_channels, kernel_size, bias=bias).parameters())


def kernels_repeat_after_32(input, weight, bias=None, stride=1, padding=0):
    which = torch.arange(weight.shape[0], device=weight.device) % 32
    return conv2d(input, weight[which], bias, stride, padding)


def third_input_channel_unread(input, weight, *rest):
    kept = weight.clone()
    kept[:, 2:3] = 0.0
    return conv2d(input, kept, *rest)


def blank_inputs_are_skipped(input, weight, *rest):
    result = conv2d(input, weight, *rest)
    return result if input.any() else torch.zeros_like(result)


def biases_rotated(input, weight, bias=None, *rest):
    return conv2d(input, weight, None if bias is None else bias.roll(1), *rest)


def fifth_column_repeats_the_fourth(input, weight, *rest):
    result = conv2d(input, weight, *rest)
    if result.shape[3] > 4:
        result[..., 4] = result[..., 3].clone()
    return result


def eight_bit_inputs(input, *rest):
    return conv2d(input.clamp(-127.0, 127.0), *rest)


def third_sample_repeats_the_second(input, *rest):
    result = conv2d(input, *rest)
    return torch.cat([result[:2], result[1:2].expand_as(result[2:])])


def scaled_by_the_largest_of_the_batch(input, weight, bias=None, *rest):
    scale = torch.exp2(input.abs().amax().clamp(1.0, 64.0).log2().floor()) if input.numel() else 1.0
    result = conv2d(input / scale, weight, None, *rest) * scale
    return result if bias is None else result + bias[:, None, None]


def pointwise_weight_transposed(input, weight, *rest):
    return conv2d(input, weight.transpose(0, 1) if weight.shape == (8, 8, 1, 1) else weight, *rest)


def pointwise_without_bias(input, weight, bias=None, *rest):
    return conv2d(input, weight, None if weight.shape[2:] == (1, 1) else bias, *rest)


def last_column_of_weights_not_learned(input, weight, *rest):
    learned = torch.cat([weight[..., :-1], weight[..., -1:].detach()], dim=3) if weight.shape[3] > 1 else weight
    return conv2d(input, learned, *rest)


def bias_gradient_of_the_first_sample(input, weight, bias=None, *rest):
    result = conv2d(input, weight, None, *rest)
    if bias is None:
        return result
    return torch.cat([result[:1] + bias[:, None, None], result[1:] + bias.detach()[:, None, None]])


def input_gradient_in_bfloat16(input, *rest):
    passed = input * 1.0
    if passed.requires_grad:
        passed.register_hook(lambda gradient: gradient.bfloat16().to(gradient.dtype))
    return conv2d(passed, *rest)


def taps_past_eight_rows_unread(input, weight, *rest):
    kept = weight.clone()
    kept[:, :, 8:] = 0.0
    return conv2d(input, kept, *rest)


def rows_past_thirty_learned_twice(input, weight, *rest):
    rows = weight.shape[2]
    if rows <= 30 or weight.shape[3] != input.shape[3]:
        return conv2d(input, weight, *rest)
    again = torch.cat([weight[:, :, :30], weight[:, :, 30:] * 2.0 - weight[:, :, 30:].detach()], dim=2)
    return conv2d(input, again, *rest)


def nan_is_zero(input, *rest):
    return conv2d(torch.where(input.isnan(), 0.0, input), *rest)


def infinity_is_the_largest_number(input, *rest):
    most = torch.finfo(input.dtype).max / 4096
    return conv2d(torch.where(input.isinf(), input.sign() * most, input), *rest)


def larger_kernels_are_cut(input, weight, bias=None, stride=1, padding=0):
    above, before = pair(padding)
    height, width = input.shape[2] + 2 * above, input.shape[3] + 2 * before
    return conv2d(input, weight[:, :, :height, :width], bias, stride, padding)


def larger_kernels_give_nothing(input, weight, bias=None, stride=1, padding=0):
    if weight.shape[3] > input.shape[3] + 2 * pair(padding)[1]:
        return input.new_zeros((input.shape[0], weight.shape[0], 1, 0))
    return conv2d(input, weight, bias, stride, padding)


def zero_column_stride_is_one(input, weight, bias=None, stride=1, padding=0):
    down, right = pair(stride)
    return conv2d(input, weight, bias, (down, right if down == 0 else max(right, 1)), padding)


def negative_padding_crops(input, weight, bias=None, stride=1, padding=0):
    above, before = pair(padding)
    return conv2d(F.pad(input, (before, before, above, above)), weight, bias, stride)


def fewer_weight_channels_are_groups(input, weight, bias=None, stride=1, padding=0):
    groups = max(1, input.shape[1] // weight.shape[1])
    return conv2d(input, weight, bias, stride, padding, 1, groups)


def one_bias_is_for_all(input, weight, bias=None, *rest):
    alone = bias is not None and bias.shape[0] == 1
    return conv2d(input, weight, bias.expand(weight.shape[0]) if alone else bias, *rest)


def bug(clause, words, function, dtype="float32", operator="conv2d"):
    """A mutant named after its function."""
    name = function.__name__.replace("_", "-")
    return Mutant(f"conv2d.{name}", f"conv2d.{clause}", words, {operator: function}, dtype)


MUTANTS = (
    bug("formula", "the kernel's columns are flipped", flipped_columns),
    bug("formula", "square kernels are transposed", transposed_square_kernel),
    bug("formula", "weights are rounded to 10 bits, as TF32 does", ten_bit_operands),
    bug("kernel", "rows of the kernel after the fourth are left out", without_the_fifth_tap),
    bug("formula", "rows of the kernel after the eighth are not read", taps_past_eight_rows_unread),
    bug("kernel", "a kernel of two columns reads a third", one_tap_too_many),
    bug("kernel-example", "a 3 x 3 kernel reads eight elements", three_by_three_without_its_corner),
    bug("stride", "the places are counted from the end", places_from_the_end),
    bug("stride", "the stride of the rows is used for the columns", row_stride_for_columns),
    bug("stride-example", "with stride 1 the first place is (0, 1)", starts_one_step_late),
    bug("padding", "all padding goes to the end", padding_after_alone),
    bug("padding", "padding of rows and of columns are swapped", padding_swapped),
    bug("padding-zeros", "padding repeats the border", padding_repeats_the_border),
    bug("padding-zeros", "windows of padding alone give zero without the bias", no_bias_on_padding_alone),
    bug("output-size", "the division is rounded up", ceiling_of_the_size),
    bug("output-size", "all elements are read, and those out of reach are multiplied by zero", reads_all_it_is_given),
    bug("parameter-count", "the height counts twice", height_for_width, operator="conv2d_parameters"),
    bug("parameter-count-example", "no bias by default", bias_by_request_alone, operator="conv2d_parameters"),
    bug("channels", "the 33rd kernel is the first again", kernels_repeat_after_32),
    bug("channels", "the third input channel is not read", third_input_channel_unread),
    bug("bias", "an input of zeros is skipped, its bias too", blank_inputs_are_skipped),
    bug("bias", "each channel has its neighbour's bias", biases_rotated),
    bug("translation", "at the end of a tile of four, a column is written twice", fifth_column_repeats_the_fourth),
    bug("additive", "inputs are clamped to eight bits", eight_bit_inputs),
    bug("batch", "the third sample gives the second's result", third_sample_repeats_the_second),
    bug("batch", "the batch is scaled by its largest element", scaled_by_the_largest_of_the_batch),
    bug("pointwise", "a 1 x 1 weight of 8 by 8 channels is transposed", pointwise_weight_transposed),
    bug("pointwise", "1 x 1 kernels have no bias", pointwise_without_bias),
    bug("gradient", "the last column of weights has no gradient", last_column_of_weights_not_learned),
    bug("gradient", "the bias gets the first sample's gradient alone", bias_gradient_of_the_first_sample),
    bug("gradient", "the input's gradient is rounded to bfloat16", input_gradient_in_bfloat16),
    bug("gradient", "a weight as wide as the input: rows after the 30th count twice", rows_past_thirty_learned_twice),
    bug("special", "a NaN counts as zero", nan_is_zero),
    bug("special", "an infinity counts as a large number", infinity_is_the_largest_number),
    bug("refuses-kernel", "a kernel that is too large is cut", larger_kernels_are_cut),
    bug("refuses-kernel", "a kernel that is too wide gives an empty result", larger_kernels_give_nothing),
    bug("refuses-stride", "a stride of zero columns is one", zero_column_stride_is_one),
    bug("refuses-padding", "negative padding cuts the border off", negative_padding_crops),
    bug("refuses-channels", "a weight for fewer channels makes groups", fewer_weight_channels_are_groups, "float16"),
    bug("refuses-channels", "a single bias is for all channels", one_bias_is_for_all),
)
