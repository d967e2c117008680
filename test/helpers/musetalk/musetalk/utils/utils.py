"""Stands in for MuseTalk's `load_all_model`."""


def load_all_model(unet_model_path=None, vae_type="sd-vae", unet_config=None, device=None):
    print(f"load unet model from {unet_model_path}")
    return unet_model_path, unet_config, device
