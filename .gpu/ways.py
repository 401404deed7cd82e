import json,sys
for n in sys.argv[1:]:
    d=json.load(open(f'/tmp/x/{n}/scores_val.json'))
    w=d['directions']; r=[(v['l1']['mean'],v['baselines']['input']['l1']['mean'],k) for k,v in w.items()]
    print(n, 'L1', round(sum(a for a,_,_ in r)/len(r),4), 'copy', round(sum(b for _,b,_ in r)/len(r),4), 'better in', sum(a<b for a,b,_ in r), 'of', len(r), 'div', d.get('diversity',{}) and d.get('diversity',{}).get('mean'))
    print('  worst', [(k, round(a,4), round(b,4)) for a,b,k in sorted(r,key=lambda x:x[1]-x[0])[:6]])
