import json, subprocess
from pathlib import Path
R=Path('/work/main/recipes')
def J(n):
    p=R/f"{n}.json"
    return json.loads(p.read_text()) if p.exists() else None
def v(n,m,way=None,digits=3,scale=1):
    d=J(n); row=d['scores'] if way is None else d['directions'][way]
    x=row[m]; k=len(d['seeds'])
    s=f"{x['mean']*scale:.{digits}f}"
    return s+(f" ± {x['spread']*scale:.{digits}f}" if k>1 else "")
WORDS={1:"one seed",2:"two seeds",3:"three seeds"}
def seeds(n): return WORDS[len(J(n)['seeds'])]
def table(names,measures,labels,way=None):
    out=subprocess.run(["/work/main/.venv/bin/python","recipes/table.py",*[f"recipes/{n}.yaml" for n in names],"--measures",*measures]+(["--way",way] if way else []),cwd="/work/main",capture_output=True,text=True,check=True).stdout
    return out.strip()
import re
MODES=json.loads(Path('/tmp/modes.json').read_text()) if Path('/tmp/modes.json').exists() else {}
EARTH=[n for n in "earth_matching earth_cyclegan earth_cyclegan_noise earth_discogan earth_cut earth_unit earth_unit_unshared earth_munit".split() if J(n)]
BACK=[n for n in EARTH if J(n)['directions']]
def clean(t):
    names={"earth_matching":"matching alone","earth_cyclegan_noise":"CycleGAN with noise","earth_cyclegan":"CycleGAN","earth_cut":"CUT","earth_unit_unshared":"UNIT, nothing shared","earth_unit":"UNIT","earth_munit":"MUNIT","earth_discogan":"DiscoGAN","constant":"the mean colour","input":"the input"}
    for k,x in names.items(): t=re.sub(rf"\| {k} \|",f"| {x} |",t)
    return t.replace("KID (AlexNet)","KID")
one=clean(table(EARTH,"l1 psnr lpips cycle_l1 kid_alex pixel_accuracy class_accuracy diversity".split(),None))
two=clean(table(BACK,"l1 psnr lpips cycle_l1 kid_alex".split(),None,"satellite to relief"))
text=f'''## Without pairs: all systems on the Earth

Satellite pictures from relief, learned from halves of the Earth that do not overlap; test pictures have
true partners. Every recipe has a number of steps that two cores of an AMD EPYC with AVX2 take in 8 to 10
minutes (`benchmarks/unpaired_steps.json`). Matching alone and CycleGAN were trained on one H100, the
others on two cores of an AMD EPYC, two at once. `python recipes/table.py recipes/earth_matching.yaml ...`:

{one}

"Pixel acc." is the share of pixels whose land cover, as computed from the picture, is the truth's. The
way back, relief from satellite pictures:

{two}

### CycleGAN, and matching alone

![CycleGAN beside matching alone](gallery/cyclegan.png)

`recipes/earth_cyclegan.yaml`, beside the adversarial term alone (`recipes/earth_matching.yaml`), to which
any pictures of the right look are right: there mountains become seas. In two of the three seeds, this one
too, seas and green lowlands change places, which the cycle allows.

![CycleGAN, the way back](gallery/cyclegan_back.png)

The way back, relief from satellite pictures.

![CycleGAN from lines to colour](gallery/cyclegan_lines.png)

`recipes/openmoji_cyclegan.yaml` ({seeds("openmoji_cyclegan")}): colours from line drawings. LPIPS
{v("openmoji_cyclegan","lpips")}, the copied drawing's 0.170, L1 {v("openmoji_cyclegan","l1")} and 0.075. What has a colour of its own,
as smileys and people, gets it; the others are guessed.

### CycleGAN with noise: are there many answers?

![CycleGAN with noise](gallery/cyclegan_noise.png)

`recipes/earth_cyclegan_noise.yaml` ({seeds("earth_cyclegan_noise")}): noise beside the input, four answers of one map. They are
all but the same: diversity {v("earth_cyclegan_noise","diversity")}, as the way back has no use for what the noise would change.

### MUNIT

![MUNIT](gallery/munit.png)

`recipes/earth_munit.yaml` ({seeds("earth_munit")}): the content of the map, four drawn styles. Diversity {v("earth_munit","diversity")};
what is sea and what is land is free to change with the style, so that no single answer comes near the truth.

![MUNIT on maps of heights](gallery/munit_elev.png)

`recipes/elev_munit.yaml` ({seeds("elev_munit")}) from maps of height classes, beside CycleGAN with noise
(`recipes/elev_cyclegan_noise.yaml`): diversity {v("elev_munit","diversity")} against {v("elev_cyclegan_noise","diversity")}, LPIPS {v("elev_munit","lpips")} against
{v("elev_cyclegan_noise","lpips")}. Rings along borders are left by the decoder.

![MUNIT on people](gallery/munit_tones.png)

`recipes/openmoji_munit.yaml` ({seeds("openmoji_munit")}): a line drawing has six right answers, one in each skin tone. Twelve
drawn styles find {MODES["openmoji_munit"]["coverage"]} of the six (IS {MODES["openmoji_munit"]["is"]}, CIS {MODES["openmoji_munit"]["cis"]}; six alike often would be 6), those of CycleGAN with noise
(`recipes/openmoji_cyclegan_noise.yaml`) {MODES["openmoji_cyclegan_noise"]["coverage"]} (IS {MODES["openmoji_cyclegan_noise"]["is"]}, CIS {MODES["openmoji_cyclegan_noise"]["cis"]}): one tone for each drawing
(`python recipes/modes.py RUN ...`, {MODES["of"]}). Colours run over the lines, and some styles are too dark.

### UNIT and CUT

![UNIT and CUT](gallery/unit.png)

`recipes/earth_unit.yaml`: one latent code for both domains, beside the same without shared layers
(`recipes/earth_unit_unshared.yaml`), and CUT (`recipes/earth_cut.yaml`). UNIT's pictures are blurred after
so few steps; sharing is the better by LPIPS, {v("earth_unit","lpips")} against {v("earth_unit_unshared","lpips")} ({seeds("earth_unit")}). CUT keeps fine lines in
place, but its instance norms take away what is sea.
'''
if J("earth_discogan"):
    text+=f'''
### DiscoGAN

![DiscoGAN](gallery/discogan.png)

`recipes/earth_discogan.yaml` ({seeds("earth_discogan")}): every picture goes through a code of 4 x 4 places, so that only
its rough layout comes through; LPIPS {v("earth_discogan","lpips")}, cycle L1 {v("earth_discogan","cycle_l1")} where CycleGAN has {v("earth_cyclegan","cycle_l1")}.
'''
if J("earth_starganv2"):
    d=J("earth_starganv2"); w=d["directions"]
    rows="\n".join(f"| {k} | {v('earth_starganv2','l1',k)} | {w[k]['input_l1']['mean']:.3f} | {v('earth_starganv2','lpips',k)} | {v('earth_starganv2','diversity',k)} |" for k in w)
    text+=f'''
### StarGAN v2

![StarGAN v2 on three pictures of the Earth](gallery/starganv2_earth.png)

`recipes/earth_starganv2.yaml` ({seeds("earth_starganv2")}): topography, relief and satellite pictures, each from each, in
drawn styles. The official generator's instance norms covered such plain tiles with droplets;
`--norm none` takes away those that the style has no say in, and the droplets with them.

| direction | L1 | copied input's L1 | LPIPS | diversity |
|---|---|---|---|---|
{rows}
'''
p=Path('/work/main/docs/gallery.md'); s=p.read_text()
a=min(x for x in (s.find("## CycleGAN, and matching alone"),s.find("## Without pairs: all")) if x>=0)
while s[a-1]=="#": a-=1
p.write_text(s[:a]+text)
