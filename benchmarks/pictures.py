"""Pictures to fill a site with: drawn, so that there are always some, and the same ones every time."""

import io
import random
from collections.abc import Iterator

from PIL import Image, ImageDraw, ImageFilter

_SIZES = ((320, 240), (640, 480), (800, 800), (1024, 576), (1200, 900))


def draw_pictures(count: int, seed: int = 1) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each picture: photographs (JPEG), fractals and posters (PNG), in several sizes."""
    chance = random.Random(seed)
    for number in range(count):
        size = chance.choice(_SIZES)
        kind = ("gradient", "fractal", "poster", "clouds")[number % 4]
        picture = {"gradient": _gradient, "fractal": _fractal, "poster": _poster, "clouds": _clouds}[kind](
            size, chance
        )
        suffix, options = (".png", {}) if kind in ("fractal", "poster") else (".jpg", {"quality": 88})
        content = io.BytesIO()
        picture.save(content, Image.registered_extensions()[suffix], **options)
        yield f"{kind} {number + 1:02}{suffix}", content.getvalue()


def _gradient(size: tuple[int, int], chance: random.Random) -> Image.Image:
    bands = [Image.linear_gradient("L").rotate(chance.choice((0, 90, 180, 270))).resize(size) for _ in "RGB"]
    return Image.merge("RGB", bands)


def _fractal(size: tuple[int, int], chance: random.Random) -> Image.Image:
    left, top = chance.uniform(-1.6, -0.8), chance.uniform(-0.9, -0.2)
    grey = Image.effect_mandelbrot(size, (left, top, left + 1.6, top + 1.2), 60)
    return Image.merge("RGB", (grey, grey.transpose(Image.Transpose.FLIP_LEFT_RIGHT), Image.new("L", size)))


def _poster(size: tuple[int, int], chance: random.Random) -> Image.Image:
    picture = Image.new("RGB", size, f"hsl({chance.randrange(360)}, 55%, 85%)")
    draw = ImageDraw.Draw(picture)
    for _ in range(12):
        x, y, radius = chance.randrange(size[0]), chance.randrange(size[1]), chance.randrange(20, 160)
        draw.circle((x, y), radius, fill=f"hsl({chance.randrange(360)}, 60%, 55%)")
    draw.text((size[0] // 10, size[1] // 3), "FastCMS", fill="black", font_size=size[1] // 5)
    return picture


def _clouds(size: tuple[int, int], chance: random.Random) -> Image.Image:
    # Not Pillow's own noise: that cannot be seeded.
    small = (size[0] // 16, size[1] // 16)
    bands = [Image.frombytes("L", small, chance.randbytes(small[0] * small[1])).resize(size) for _ in "RGB"]
    return Image.merge("RGB", bands).filter(ImageFilter.GaussianBlur(4))
