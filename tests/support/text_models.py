"""Diffusers' pipelines that read text, tiny, with random weights, of latents 4 x 8 x 8; their tokenizers know letters."""

import diffusers
import torch
import transformers
from diffusers_models import autoencoder, shaken

LETTERS = "abcdefghijklmnopqrstuvwxyz"
LONGEST = 16
"""Tokens of a prompt."""
SCALED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
FLOW = {"in_channels": 4, "num_layers": 1, "attention_head_dim": 8, "num_attention_heads": 2, "joint_attention_dim": 16}


def clip(seed: int, pooled: bool = False):
    """A CLIP text encoder of width 16, whose pooled output is projected or not, and its tokenizer."""
    marks = ("<|startoftext|>", "<|endoftext|>")
    vocab = {token: i for i, token in enumerate([*LETTERS, *(c + "</w>" for c in LETTERS), *marks])}
    tokenizer = transformers.CLIPTokenizer(vocab=vocab, merges=[], model_max_length=LONGEST)
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "projection_dim": 16}
    ends = {"bos_token_id": vocab[marks[0]], "eos_token_id": vocab[marks[1]], "pad_token_id": vocab[marks[1]]}
    config = transformers.CLIPTextConfig(vocab_size=len(vocab), max_position_embeddings=LONGEST, **sizes, **ends)
    kind = transformers.CLIPTextModelWithProjection if pooled else transformers.CLIPTextModel
    return shaken(kind(config)), tokenizer


def t5(seed: int, width: int = 16):
    """A T5 encoder, and its tokenizer."""
    vocab = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((c, -3.0) for c in LETTERS)]
    tokenizer = transformers.T5Tokenizer(vocab=vocab, extra_ids=0, model_max_length=LONGEST)
    torch.manual_seed(seed)
    config = transformers.T5Config(vocab_size=len(vocab), d_model=width, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    return shaken(transformers.T5EncoderModel(config)), tokenizer


def text_unet(**settings):
    """A `UNet2DConditionModel` of latents 4 x 8 x 8."""
    torch.manual_seed(0)
    small = {
        "sample_size": 8,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": 4,
        "cross_attention_dim": 16,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    }
    network = shaken(diffusers.UNet2DConditionModel(**small | settings))
    network.conv_out.weight.data.mul_(0.3)
    return network


def stable_diffusion(**scheduler):
    """Stable Diffusion 1 or 2, with DDIM as its authors set it."""
    encoder, tokenizer = clip(1)
    told = {"clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}
    made = diffusers.StableDiffusionPipeline(
        vae=autoencoder(scaling_factor=0.18215),
        text_encoder=encoder,
        tokenizer=tokenizer,
        unet=text_unet(),
        scheduler=diffusers.DDIMScheduler(**SCALED, **told | scheduler),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return quiet(made)


def stable_diffusion_xl(**settings):
    """SDXL: two encoders side by side, the pooled output of the second, and the sizes of the picture."""
    (first, one), (second, two) = clip(1), clip(2, pooled=True)
    told = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8, "cross_attention_dim": 32}
    made = diffusers.StableDiffusionXLPipeline(
        vae=autoencoder(scaling_factor=0.13025),
        text_encoder=first,
        text_encoder_2=second,
        tokenizer=one,
        tokenizer_2=two,
        unet=text_unet(projection_class_embeddings_input_dim=6 * 8 + 16, **told),
        scheduler=diffusers.EulerDiscreteScheduler(**SCALED, steps_offset=1, timestep_spacing="leading"),
        add_watermarker=False,
        **settings,
    )
    return quiet(made)


def stable_diffusion_3(t5_too: bool = True):
    """SD3: two pooled CLIP encoders and T5, or without."""
    (first, one), (second, two) = clip(1, pooled=True), clip(2, pooled=True)
    third, three = t5(3, 32) if t5_too else (None, None)
    sizes = FLOW | {"joint_attention_dim": 32, "pooled_projection_dim": 32, "caption_projection_dim": 16}
    torch.manual_seed(0)
    network = diffusers.SD3Transformer2DModel(sample_size=8, out_channels=4, pos_embed_max_size=8, **sizes | {"num_layers": 2})
    made = diffusers.StableDiffusion3Pipeline(
        transformer=tame(network),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=autoencoder(scaling_factor=1.5305, shift_factor=0.0609),
        text_encoder=first,
        tokenizer=one,
        text_encoder_2=second,
        tokenizer_2=two,
        text_encoder_3=third,
        tokenizer_3=three,
    )
    return quiet(made)


def flux(guidance: bool = True):
    """Flux, distilled with guidance or not, with its shift by the picture's size."""
    (first, one), (second, two) = clip(1), t5(3)
    sizes = FLOW | {"in_channels": 16, "num_single_layers": 1, "pooled_projection_dim": 16, "axes_dims_rope": (2, 2, 4)}
    torch.manual_seed(0)
    network = diffusers.FluxTransformer2DModel(guidance_embeds=guidance, **sizes)
    made = diffusers.FluxPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True),
        vae=autoencoder(scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=first,
        tokenizer=one,
        text_encoder_2=second,
        tokenizer_2=two,
        transformer=tame(network),
    )
    return quiet(made)


def tame(network):
    """Random everywhere, with a small output."""
    shaken(network).proj_out.weight.data.mul_(0.3)
    return network


def quiet(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
