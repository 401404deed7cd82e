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
