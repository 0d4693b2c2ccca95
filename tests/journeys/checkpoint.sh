# A checkpoint as diffusers' save_pretrained writes it. Yours lies there already; this one is small and was never trained.
python - <<'END'
import diffusers
import torch

torch.manual_seed(0)
blocks = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2, "block_out_channels": (8, 16)}
unet = diffusers.UNet2DModel(sample_size=32, in_channels=1, out_channels=1, layers_per_block=1, norm_num_groups=4, **blocks)
diffusers.DDPMPipeline(unet, diffusers.DDPMScheduler(prediction_type="v_prediction")).save_pretrained("my-model")
END

# What is it, is it read right, and what does a forward take?
bench doctor --teacher diffusers:my-model --device cpu

# Which solver comes closest to its own ODE, with how many calls, in what time? No data is needed for that.
bench run --teacher diffusers:my-model --samplers ddim,dpmpp_2m --calls 4,8 --images 8 --out runs/ode

# How good are its images? In the features of digits, which ship; FID is --metrics fid --reference IMAGES --quality standard.
bench run --teacher diffusers:my-model --samplers dpmpp_2m --calls 8 --images 8 --extractor mnist --save-images png --out runs/scored

# The same images from their folder, as those of any other program: the same figure.
bench score runs/scored/images/dpmpp_2m_n8_b8_fp32_eager --extractor mnist
